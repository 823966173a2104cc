#include "coordinator/grid.h"

#include <algorithm>
#include <map>
#include <regex>
#include <set>

#include "coordinator/at_line.h"
#include "coordinator/expert_sets.h"
#include "coordinator/external_tasks.h"
#include "core/alternatives.h"
#include "core/errors.h"
#include "core/text.h"
#include "fusion/cell_merge.h"
#include "zoo/pack_digest.h"

namespace fusegrid {
namespace {

bool asks_for_all_tasks(const JobSpec& job) {
  return !job.tasks.empty() && job.tasks.front().text == "all";
}

// Those of a zoo, and those that commands answer.
std::vector<std::string> with_external(const JobSpec& job, std::vector<std::string> tasks) {
  for (const auto& section : job.external_tasks) {
    tasks.push_back(section.name);
  }
  return tasks;
}

// Tasks that cells of these experts are evaluated on. Whoever writes a section [task:NAME] means it, whether or not an
// expert was made for the task.
std::vector<std::string> evaluated_tasks(const JobSpec& job, const Zoo& zoo,
                                         const std::vector<std::string>& experts) {
  if (job.tasks.empty()) {
    return with_external(job, zoo.tasks_of(experts));
  }
  const auto known = with_external(job, zoo.tasks);
  if (asks_for_all_tasks(job)) {
    return known;
  }
  std::vector<std::string> tasks;
  for (const auto& task : job.tasks) {
    if (std::find(known.begin(), known.end(), task.text) == known.end()) {
      throw ConfigError(job.where(task.line) + "zoo '" + zoo.name + "' has no task '" + task.text + "'" +
                        alternatives(task.text, known));
    }
    tasks.push_back(task.text);
  }
  return tasks;
}

void check_experts(const Zoo& zoo, const Replicate& replicate, const Method& method,
                   const std::vector<std::string>& experts) {
  const auto count = static_cast<int64_t>(experts.size());
  const auto& card = method.card;
  if (count < card.min_experts || count > card.max_experts) {
    const std::string accepted = card.min_experts == card.max_experts
                                     ? "exactly " + number_text(card.min_experts)
                                 : count < card.min_experts ? "at least " + number_text(card.min_experts)
                                                            : "at most " + number_text(card.max_experts);
    throw ConfigError("method '" + card.name + "' takes " + accepted + " experts, but 'experts' gives it " +
                      number_text(count));
  }
  if (card.needs.contains(Need::kMultitask) && !replicate.multitask) {
    throw ConfigError("method '" + card.name + "' needs a multi-task model, but zoo '" + zoo.name +
                      "' has none for seed " + number_text(replicate.seed) +
                      "; remove the method or build the zoo with its multi-task model");
  }
  if (card.needs.contains(Need::kPretrained) && replicate.base.empty()) {
    throw ConfigError("method '" + card.name +
                      "' needs the base that the experts come from, but those of zoo '" + zoo.name +
                      "' have none in common; leave the method out");
  }
  for (const auto& expert : experts) {
    if (!replicate.experts.contains(expert)) {
      throw ConfigError("zoo '" + zoo.name + "' has no expert '" + expert + "' with seed " +
                        number_text(replicate.seed) + "; finish building the zoo, or leave the expert out");
    }
  }
}

// Data belong to tasks: a method sees the training examples of each expert's, and the others of all experts'.
void check_owned(const Zoo& zoo, const MethodCard& card, const std::vector<std::string>& experts) {
  const bool trains = card.needs.contains(Need::kTrainInputs) || card.needs.contains(Need::kTrainLabels);
  for (const auto& expert : experts) {
    if (trains && zoo.tasks_of({expert}).empty()) {
      throw ConfigError("method '" + card.name + "' needs training examples of each expert, but expert '" +
                        expert + "' of zoo '" + zoo.name +
                        "' owns no task; leave the expert out, or the method");
    }
  }
  const bool reads = std::any_of(card.needs.begin(), card.needs.end(), [](Need need) {
    return need == Need::kTestInputs || need == Need::kValidationInputs || need == Need::kValidationExamples;
  });
  if (reads && zoo.tasks_of(experts).empty()) {
    throw ConfigError("method '" + card.name + "' needs examples of the experts' tasks, but the experts " +
                      join(experts, ", ") + " of zoo '" + zoo.name + "' own no task; leave the method out");
  }
}

// Those of `tasks` that a method answers; owned: the tasks of the merged experts. Where a job names no tasks or asks
// for all, a method that is told them answers those that it can; tasks that are named are meant.
std::vector<std::string> answered_tasks(const JobSpec& job, const MethodCard& card,
                                        const std::vector<std::string>& owned,
                                        const std::vector<std::string>& tasks) {
  if (!card.needs_task_identity) {
    return tasks;
  }
  if ((job.tasks.empty() || asks_for_all_tasks(job)) && !owned.empty()) {
    return owned;
  }
  for (const auto& task : tasks) {
    if (std::find(owned.begin(), owned.end(), task) == owned.end()) {
      throw ConfigError(
          "method '" + card.name + "' must be told the task of an input and only answers for " +
          (owned.empty() ? "tasks that a merged expert owns, of which there are none" : join(owned, ", ")) +
          ", but " +
          (task_section(job, task) != nullptr
               ? "[task:" + task + "] is none of them; say whose it is by 'expert = NAME' below it"
               : "'task' asks for '" + task + "'; leave 'task' out" +
                     (owned.empty() ? "" : ", write 'task = all'")) +
          ", or move the method to a job of its own");
    }
  }
  return tasks;
}

constexpr double kMostCells = 1e6;  // of a job: more are a mistake, or several jobs

// A grid is a product, and a digit too many in it would fill the memory before anyone saw a number.
void check_size(const JobSpec& job, const JobZoos& zoos) {
  double merges = 0;  // of one set of experts and one seed
  for (const auto& grid : job.methods) {
    merges += grid.num_combinations();
  }
  double cells = 0;
  for (const auto& value : job.zoos) {
    const Zoo& zoo = zoos.at(value.text);
    for (const auto& experts : job.experts) {
      for (const auto& set : at_line(job, experts.line, [&] { return expert_sets(zoo, experts.text); })) {
        const auto merged = at_line(job, experts.line, [&] { return zoo.experts_called(set.experts); });
        cells += static_cast<double>(evaluated_tasks(job, zoo, merged).size());
      }
    }
  }
  cells *= merges * static_cast<double>(job.seeds.size()) * static_cast<double>(job.shifts.size());
  if (cells > kMostCells) {
    throw ConfigError(job.where(0) + "a job must have at most " +
                      number_text(static_cast<int64_t>(kMostCells)) + " cells, but it asks for " +
                      number_text(static_cast<int64_t>(std::min(cells, 1e18))) +
                      "; take values out of the grid, or split it into several jobs");
  }
}

// Adds the cells of one job to `cells`, by name.
class Expander {
 public:
  Expander(const JobSpec& job, std::map<std::string, Cell>& cells) : job_(job), cells_(cells) {}

  void add_zoo(const Zoo& zoo, int zoo_line) {
    for (const auto& value : job_.experts) {
      for (const auto& set : at_line(job_, value.line, [&] { return expert_sets(zoo, value.text); })) {
        const auto experts = at_line(job_, value.line, [&] { return zoo.experts_called(set.experts); });
        for (const int64_t seed : job_.seeds) {
          const Replicate* replicate = at_line(job_, zoo_line, [&] { return &zoo.replicate(seed); });
          add_methods(zoo, *replicate, experts, seed);
        }
      }
    }
  }

 private:
  void add_methods(const Zoo& zoo, const Replicate& replicate, const std::vector<std::string>& experts,
                   int64_t seed) {
    const auto tasks = evaluated_tasks(job_, zoo, experts);
    for (const auto& grid : job_.methods) {
      const Method& method = method_registry().at(grid.method);
      at_line(job_, grid.line, [&] {
        check_experts(zoo, replicate, method, experts);
        check_owned(zoo, method.card, experts);
        const auto answered = answered_tasks(job_, method.card, owned_tasks(zoo, experts), tasks);
        for (const auto& parameters : grid.combinations()) {
          method.check(parameters, method.card, static_cast<int64_t>(experts.size()));
          add_cells({.zoo = zoo.name,
                     .experts = canonical_experts(zoo, experts),
                     .method = grid.method,
                     .parameters = named_parameters(method, parameters),
                     .seed = seed,
                     .task = {}},
                    answered);
        }
      });
    }
  }

  // In the order of the zoo, then of the job.
  std::vector<std::string> owned_tasks(const Zoo& zoo, const std::vector<std::string>& experts) const {
    const auto owners = task_owners(job_, zoo, experts);
    auto owned = with_external(job_, zoo.tasks);
    std::erase_if(owned, [&](const std::string& task) { return !owners.contains(task); });
    return owned;
  }

  void add_cells(Cell cell, const std::vector<std::string>& tasks) {
    for (const auto& task : tasks) {
      for (const auto& shift : job_.shifts) {
        cell.task = task;
        cell.shift = shift.text;
        cells_.emplace(cell.name(), cell);
      }
    }
  }

  const JobSpec& job_;
  std::map<std::string, Cell>& cells_;
};

}  // namespace

std::string named_parameters(const Method& method, const ParamText& given) {
  std::map<std::string, std::string> defaults;
  for (const auto& param : method.params()) {
    defaults[param.name] = param.value;
  }
  std::vector<std::string> named;
  const std::string all = method.canonical(given);
  for (const auto& part : all.empty() ? std::vector<std::string>{} : split(all, ',')) {
    const auto equals = part.find('=');
    const auto known = defaults.find(part.substr(0, equals));  // else of every method, and not at its default
    if (known == defaults.end() || part.substr(equals + 1) != known->second) {
      named.push_back(part);
    }
  }
  return join(named, ",");
}

JobZoos load_zoos(const JobSpec& job) {
  JobZoos zoos;
  std::map<std::string, std::filesystem::path> folders;
  for (const auto& value : job.zoos) {
    Zoo zoo = at_line(job, value.line, [&] { return find_zoo(value.text); });
    const auto folder = std::filesystem::weakly_canonical(zoo.folder);
    if (const auto [known, added] = folders.emplace(zoo.name, folder); !added) {
      throw ConfigError(job.where(value.line) + "zoo '" + value.text + "' has the same name, '" + zoo.name +
                        "', as the one in " + known->second.string() +
                        "; the name is part of every cell's identity, so give one folder another name");
    }
    zoos.emplace(value.text, std::move(zoo));
  }
  return zoos;
}

std::vector<Cell> expand(const JobSpec& job, const JobZoos& zoos) {
  check_task_sections(job, zoos);
  check_size(job, zoos);
  std::map<std::string, Cell> cells;
  Expander expander(job, cells);
  for (const auto& value : job.zoos) {
    expander.add_zoo(zoos.at(value.text), value.line);
  }
  std::vector<Cell> sorted;
  for (auto& [name, cell] : cells) {
    sorted.push_back(std::move(cell));
  }
  if (sorted.empty()) {
    throw ConfigError(
        job.where(0) +
        "a job needs a task, but the merged experts own none; name tasks of the zoo with 'task', or "
        "add a section [task:NAME] with the command that evaluates models");
  }
  check_external_cells(job, zoos, sorted);
  return sorted;
}

nlohmann::json merged_sets(const JobSpec& job, const JobZoos& zoos) {
  nlohmann::json sets = nlohmann::json::object();
  for (const auto& [text, zoo] : zoos) {
    for (const auto& value : job.experts) {
      for (const ExpertSet& set : expert_sets(zoo, value.text)) {
        sets[zoo.name][set.experts].push_back(set.draw.empty() ? "named" : set.draw);
      }
    }
  }
  return sets;
}

std::string sweep_name(const Cell& cell) {
  Cell sweep = cell;
  sweep.parameters.clear();
  return sweep.without_task() + "@" + cell.shift;
}

std::set<std::string> swept_cells(const std::vector<Cell>& cells) {
  std::map<std::string, std::set<std::string>> settings;
  for (const auto& cell : cells) {
    settings[sweep_name(cell)].insert(cell.parameters);
  }
  std::set<std::string> swept;
  for (const auto& cell : cells) {
    if (settings.at(sweep_name(cell)).size() > 1) {
      swept.insert(cell.name());
    }
  }
  return swept;
}

std::map<std::string, std::string> cell_bindings(const Cell& cell) {
  const Method& method = method_registry().at(cell.method);
  std::map<std::string, std::string> bindings = cell.method_bindings;
  bindings.insert(cell.task_bindings.begin(), cell.task_bindings.end());
  bindings["parameters"] = method.canonical(parse_call(cell.method_text()).second);
  return bindings;
}

std::vector<Cell> only_matching(const std::vector<Cell>& cells, const std::string& regex,
                                const std::string& option) {
  std::vector<Cell> kept;
  try {
    const std::regex pattern(regex, std::regex::ECMAScript | std::regex::optimize);
    std::copy_if(cells.begin(), cells.end(), std::back_inserter(kept),
                 [&](const Cell& cell) { return std::regex_search(cell.name(), pattern); });
  } catch (const std::regex_error& error) {
    throw UsageError(option + " takes a regular expression (ECMAScript), but '" + regex +
                     "' is not one: " + error.what());
  }
  return kept;
}

void check_workers(const JobSpec& job, int workers) {
  if (job.shards > workers) {
    throw ConfigError(job.where(job.shards_line) +
                      "'shards' must be at most the number of workers, but it is " + number_text(job.shards) +
                      " and there " + (workers == 1 ? "is 1" : "are " + number_text(int64_t{workers})) +
                      "; start the job with 'mpirun -n " + number_text(job.shards + 1) +
                      "' or more (rank 0 coordinates), or lower 'shards'");
  }
}

nlohmann::json grid_settings(const JobSpec& job, const JobZoos& zoos, const SavedStatistics& statistics,
                             int64_t memory_limit_bytes, const std::map<std::string, std::string>& bindings) {
  auto folders = nlohmann::json::object();
  auto packs = nlohmann::json::object();
  for (const auto& [text, zoo] : zoos) {
    folders[zoo.name] = std::filesystem::absolute(zoo.folder).string();
    if (const auto seen = seen_pack(zoo)) {
      packs[zoo.name] = *seen;
    }
  }
  return {
      {"zoos", folders},
      {"packs", packs},
      {"batch", job.batch},
      {"splits", {"val", "test"}},
      {"validation", job.validation.value_or(-1)},
      {"precision", job.precision},
      {"statistics", statistics.folder.empty() ? "" : std::filesystem::absolute(statistics.folder).string()},
      {"statistics_disk_bytes", statistics.disk_bytes},
      {"memory_limit_bytes", memory_limit_bytes},
      {"shards", job.shards},
      {"bindings", bindings}};
}

}  // namespace fusegrid
