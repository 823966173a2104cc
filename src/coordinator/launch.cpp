#include "coordinator/launch.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "coordinator/cell_data.h"
#include "coordinator/external_tasks.h"
#include "core/errors.h"
#include "core/text.h"
#include "fusion/method.h"
#include "store/task_pack.h"
#include "tasks/kind.h"
#include "zoo/bindings.h"
#include "zoo/pack_digest.h"

namespace fusegrid {
namespace {

constexpr size_t kStaleShown = 5;

// Of the merge: the models are no data, whoever trained them.
std::string data_text(const MethodCard& card) {
  if (card.family == Family::kExternal) {
    return "external";  // nobody sees what a command reads
  }
  std::vector<std::string> needs;
  for (const Need need : card.needs) {
    if (need != Need::kPretrained && need != Need::kMultitask) {
      needs.push_back(to_string(need));
    }
  }
  return join(needs, ", ");
}

// "inputs=validation": of the parameters those that make a row of their own.
std::string parameters_of_row(const Method& method, const ParamText& parameters) {
  std::vector<std::string> others;
  for (const auto& [name, value] : parameters) {
    if (method.is_row(name, value)) {
      others.push_back(name + "=" + value);
    }
  }
  return join(others, ",");
}

const Zoo& zoo_named(const JobZoos& zoos, const std::string& name) {
  const auto found =
      std::find_if(zoos.begin(), zoos.end(), [&](const auto& entry) { return entry.second.name == name; });
  FUSEGRID_ASSERT(found != zoos.end(), name);
  return found->second;
}

// zoo -> the tasks that cells are evaluated on
std::map<std::string, std::set<std::string>> evaluated(const std::vector<Cell>& cells) {
  std::map<std::string, std::set<std::string>> tasks;
  for (const auto& cell : cells) {
    tasks[cell.zoo].insert(cell.task);
  }
  return tasks;
}

bool is_of_zoo(const Zoo& zoo, const std::string& task) {
  return std::ranges::count(zoo.tasks, task) > 0;
}

ExamplesRecord examples_record(const std::string& zoo, const std::string& task, const std::string& split,
                               const TaskPack& pack) {
  const Split marks = pack.read_marks(task, split);
  ExamplesRecord record{zoo, task, split, {}, {}};
  const auto* groups = marks.groups.const_data_ptr<int64_t>();
  const auto* labels = marks.labels.defined() ? marks.labels.const_data_ptr<int64_t>() : nullptr;
  for (int64_t i = 0; i < marks.groups.numel(); ++i) {
    record.groups.push_back(static_cast<uint32_t>(groups[i]));
    record.labels.push_back(labels == nullptr ? -1 : static_cast<int32_t>(labels[i]));
  }
  return record;
}

// The kind's, unless the task's attributes name another of the kind's.
std::string primary_metric(const TaskInfo& task) {
  const auto known = task_kind(task.kind).metrics();
  const std::string name = task.attributes.value("metric", known.front());
  if (std::find(known.begin(), known.end(), name) == known.end()) {
    throw ConfigError("the metric of task '" + task.name + "' must be one of " + join(known, ", ") +
                      ", but it is '" + name + "'; make the task pack again with another one");
  }
  return name;
}

TaskRecord task_record(const std::string& zoo, const TaskInfo& task) {
  const MetricRule& primary = metric_registry().at(primary_metric(task));
  return {zoo,       task.name, task.kind, primary.name, to_string(primary.better), to_string(primary.unit),
          task.title};
}

std::string binding_text(const std::map<std::string, std::string>& bindings, const std::string& key) {
  const auto found = bindings.find(key);
  return found == bindings.end() ? "nothing" : "'" + found->second + "'";
}

// "" where the bindings are the same.
std::string difference_of(const std::map<std::string, std::string>& recorded,
                          const std::map<std::string, std::string>& planned) {
  std::set<std::string> keys;
  for (const auto* bindings : {&recorded, &planned}) {
    for (const auto& [key, value] : *bindings) {
      keys.insert(key);
    }
  }
  std::vector<std::string> differences;
  for (const auto& key : keys) {
    if (binding_text(recorded, key) != binding_text(planned, key)) {
      differences.push_back(key + " was " + binding_text(recorded, key) + ", now " +
                            binding_text(planned, key));
    }
  }
  return join(differences, "; ");
}

// The inputs that a cell uses, of the replicate that its seed chooses.
std::set<std::string> inputs_of(const Cell& cell, const Zoo& zoo, const Replicate& replicate) {
  const std::string place = zoo.name + "/" + number_text(replicate.seed) + "/";
  const auto needs = method_registry().at(cell.method).needs(parse_call(cell.method_text()).second);
  std::set<std::string> inputs{place + "config"};
  if (!replicate.base.empty()) {
    inputs.insert(place + "base");
  }
  if (is_of_zoo(zoo, cell.task)) {
    inputs.insert(place + "heads/" + cell.task);
  }
  const auto experts = zoo.experts_called(cell.experts);
  for (const auto& expert : experts) {
    inputs.insert(place + "expert/" + expert);
    if (needs.contains(Need::kClassesSeen)) {
      inputs.insert(place + "classes/" + expert);
    }
  }
  for (const auto& task : zoo.tasks_of(experts)) {
    inputs.insert(place + "heads/" + task);
  }
  if (needs.contains(Need::kMultitask)) {
    inputs.insert(place + "multitask");
    if (replicate.multitask_heads && is_of_zoo(zoo, cell.task)) {
      inputs.insert(place + "multitask_heads/" + cell.task);
    }
  }
  return inputs;
}

// Of a task that several of the merged experts were made for, all of them.
std::string owner_text(const JobSpec& job, const Zoo& zoo, const std::vector<std::string>& experts,
                       const std::string& task) {
  const auto owners = task_owners(job, zoo, experts);
  if (const auto owner = owners.find(task); owner != owners.end()) {
    return owner->second;
  }
  std::vector<std::string> made_for_it = zoo.experts_for(task);
  std::erase_if(made_for_it, [&](const std::string& expert) {
    return std::find(experts.begin(), experts.end(), expert) == experts.end();
  });
  return made_for_it.empty() ? kNoOwner : join(made_for_it, "+");
}

}  // namespace

std::map<std::string, std::string> launch_bindings(const JobSpec& job, const std::vector<Cell>& cells,
                                                   const JobZoos& zoos) {
  std::map<std::string, std::string> bindings{
      {"precision", job.precision},
      {"validation", job.validation ? number_text(*job.validation) : "all examples"}};
  std::map<std::string, std::map<std::string, std::string>> known;  // by zoo and seed: all of a replicate
  for (const auto& cell : cells) {
    const Zoo& zoo = zoo_named(zoos, cell.zoo);
    if (const auto [owner, fresh] = bindings.try_emplace(owner_binding(cell.zoo, cell.experts, cell.task));
        fresh) {
      owner->second = owner_text(job, zoo, zoo.experts_called(cell.experts), cell.task);
    }
    const Replicate& replicate = zoo.replicate(cell.seed);
    auto& all = known[zoo.name + "/" + number_text(replicate.seed)];
    if (all.empty()) {
      all = replicate_bindings(zoo, replicate);
      if (!zoo.pack.empty()) {
        bindings[pack_binding(zoo)] = zoo.pack_sha256.empty() ? pack_digest(zoo) : zoo.pack_sha256;
      }
    }
    for (const auto& input : inputs_of(cell, zoo, replicate)) {
      bindings[input] = all.at(input);
    }
  }
  return bindings;
}

std::vector<MethodRecord> method_records(const std::vector<Cell>& cells) {
  std::map<std::string, MethodRecord> records;
  for (const auto& cell : cells) {
    const Method& method = method_registry().at(cell.method);
    const std::string others = parameters_of_row(method, parse_call(cell.method_text()).second);
    const MethodCard card = method.card_of(parse_call("m{" + others + "}").second);
    const std::string name = card.name + (others.empty() ? "" : "{" + others + "}");
    const std::string title = card.title + (others.empty() ? "" : " (" + others + ")");
    records[name] = {name,
                     title,
                     card.paper,
                     to_string(card.family),
                     data_text(card),
                     to_string(card.yields),
                     card.needs_task_identity};
  }
  std::vector<MethodRecord> all;
  for (auto& [name, record] : records) {
    all.push_back(std::move(record));
  }
  return all;
}

std::vector<TaskRecord> task_records(const JobSpec& job, const std::vector<Cell>& cells,
                                     const JobZoos& zoos) {
  std::vector<TaskRecord> records;
  for (const auto& [name, tasks] : evaluated(cells)) {
    const PackContents contents = pack_contents(zoo_named(zoos, name));
    for (const auto& task : tasks) {
      const TaskSection* section = task_section(job, task);
      records.push_back(section != nullptr ? external_task_record(name, *section)
                                           : task_record(name, contents.at(task)));
    }
  }
  return records;
}

std::vector<ExamplesRecord> examples_records(const std::vector<Cell>& cells, const JobZoos& zoos,
                                             const Records& known) {
  std::vector<ExamplesRecord> records;
  for (const auto& [name, tasks] : evaluated(cells)) {
    const Zoo& zoo = zoo_named(zoos, name);
    std::optional<TaskPack> pack;
    for (const auto& task : tasks) {
      for (const std::string split : {"val", "test"}) {
        if (is_of_zoo(zoo, task) && !known.examples.contains({name, task, split})) {
          if (!pack) {
            pack.emplace(zoo.pack);
          }
          records.push_back(examples_record(name, task, split, *pack));
        }
      }
    }
  }
  return records;
}

std::vector<StaleCell> stale_cells(const std::vector<Cell>& cells,
                                   const std::map<std::string, Result>& recorded) {
  std::vector<StaleCell> stale;
  for (const auto& cell : cells) {
    const auto found = recorded.find(cell.name());
    if (found == recorded.end() || found->second.status == Status::kFailed) {
      continue;
    }
    const std::string difference = difference_of(found->second.bindings, cell_bindings(cell));
    if (!difference.empty()) {
      stale.push_back({cell.name(), difference});
    }
  }
  return stale;
}

void check_fresh(const std::vector<Cell>& cells, const std::map<std::string, Result>& recorded) {
  const auto stale = stale_cells(cells, recorded);
  if (stale.empty()) {
    return;
  }
  std::string message = "recorded results rest on what this run would make them from, but " +
                        std::to_string(stale.size()) + " of " + std::to_string(cells.size()) +
                        " cells are stale:";
  for (size_t i = 0; i < std::min(stale.size(), kStaleShown); ++i) {
    message += "\n  " + stale[i].name + ": " + stale[i].difference;
  }
  if (stale.size() > kStaleShown) {
    message += "\n  and " + std::to_string(stale.size() - kStaleShown) + " more";
  }
  throw ConfigError(
      message +
      "\nRun them again with --forget REGEX, which drops the recorded results of the cells that the "
      "expression finds, or give the new ones a folder of their own (--results DIR).");
}

}  // namespace fusegrid
