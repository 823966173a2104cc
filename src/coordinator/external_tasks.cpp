#include "coordinator/external_tasks.h"

#include <algorithm>
#include <set>

#include "coordinator/at_line.h"
#include "coordinator/command_keys.h"
#include "core/alternatives.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

const std::vector<std::string> kTaskKeys{"command", "metric",     "better", "unit",
                                         "expert",  "validation", "limit",  "timeout_s"};
constexpr int64_t kHighestLimit = int64_t{1} << 30;

bool yes_or_no(const std::string& key, const std::string& text) {
  if (text != "yes" && text != "no") {
    throw ConfigError("'" + key + "' must be yes or no, but it is '" + text + "'");
  }
  return text == "yes";
}

template <typename Parse>
auto parsed(const std::string& key, const std::string& text, const Parse& parse) {
  try {
    return parse(text);
  } catch (const DataError& error) {
    throw ConfigError("'" + key + "': " + error.what());
  }
}

void take_from_rule(TaskSection& section) {
  ExternalTask& task = section.task;
  if (!metric_registry().contains(task.metric)) {
    return;
  }
  const MetricRule& rule = metric_registry().at(task.metric);
  const bool other_side = section.given.contains("better") && task.better != rule.better;
  const bool other_unit = section.given.contains("unit") && task.unit != rule.unit;
  if (other_side || other_unit) {
    throw ConfigError("[task:" + section.name + "]: the metric '" + rule.name + "' is known as one where " +
                      to_string(rule.better) + " is better, of unit " + to_string(rule.unit) + "; leave '" +
                      (other_side ? "better" : "unit") + "' out, or call the metric otherwise");
  }
  task.better = rule.better;
  task.unit = rule.unit;
}

// Whether the board of the cell has the task among those that parameters are chosen by.
class ChoosingTasks {
 public:
  ChoosingTasks(const JobSpec& job, const JobZoos& zoos, const std::vector<Cell>& cells) : job_(job) {
    for (const auto& [text, zoo] : zoos) {
      zoos_[zoo.name] = &zoo;
    }
    for (const Cell& cell : cells) {
      owned_[board(cell)] |= is_owned(cell);
    }
  }
  bool has(const Cell& cell) const { return is_owned(cell) || !owned_.at(board(cell)); }

 private:
  static std::string board(const Cell& cell) { return cell.zoo + "/" + cell.experts + "@" + cell.shift; }
  bool is_owned(const Cell& cell) const {
    const Zoo& zoo = *zoos_.at(cell.zoo);
    return task_owners(job_, zoo, zoo.experts_called(cell.experts)).contains(cell.task);
  }

  const JobSpec& job_;
  std::map<std::string, const Zoo*> zoos_;
  std::map<std::string, bool> owned_;  // by board: whether a merged expert owns a task of it
};

void check_yields(const Cell& cell, const TaskSection& section) {
  const MethodCard& card = method_registry().at(cell.method).card;
  if (card.yields != Yields::kOneModel && card.yields != Yields::kModelPerTask) {
    throw ConfigError("[task:" + section.name +
                      "] asks about models in folders, but several models make the answers of method '" +
                      card.name + "' together, which no folder can hold (cell '" + cell.name() +
                      "'); leave the method out, or put the task into a job of its own");
  }
}

void check_clean(const Cell& cell, const TaskSection& section) {
  if (cell.shift != "clean") {
    throw ConfigError("[task:" + section.name +
                      "] has examples that its command alone sees, but the shift of cell '" + cell.name() +
                      "' is a condition of tasks of a pack; put the task into a job without 'shift'");
  }
}

}  // namespace

std::string read_task_key(const std::string& line, TaskSection& section) {
  const KeyLine read = read_key_line(line, "task:" + section.name, kTaskKeys);
  ExternalTask& task = section.task;
  section.given.insert(read.key);
  if (read_command_key(read, "python3 my_evaluator.py", task.command)) {
    return read.key;
  }
  const std::string& word = single_word(read.key, read.value);
  if (read.key == "metric") {
    task.metric = word;
  } else if (read.key == "better") {
    task.better = parsed(read.key, word, parse_better);
  } else if (read.key == "unit") {
    task.unit = parsed(read.key, word, parse_unit);
  } else if (read.key == "expert") {
    task.expert = word;
  } else if (read.key == "validation") {
    task.has_validation = yes_or_no(read.key, word);
  } else {
    task.limit = whole_within(read.key, read.value, 1, kHighestLimit);
  }
  return read.key;
}

void complete_task(TaskSection& section) {
  const std::string what = "[task:" + section.name + "] needs a line '";
  if (!section.given.contains("command")) {
    throw ConfigError(what + "command = PROGRAM ... " + kRequestWord + "' below it");
  }
  if (!section.given.contains("metric")) {
    throw ConfigError(what + "metric = NAME' below it, the number of its answer that is compared");
  }
  take_from_rule(section);
}

const TaskSection* task_section(const JobSpec& job, const std::string& task) {
  const auto found = std::find_if(job.external_tasks.begin(), job.external_tasks.end(),
                                  [&](const TaskSection& section) { return section.name == task; });
  return found == job.external_tasks.end() ? nullptr : &*found;
}

std::map<std::string, std::string> task_owners(const JobSpec& job, const Zoo& zoo,
                                               const std::vector<std::string>& experts) {
  auto owners = zoo.owners(experts);
  for (const TaskSection& section : job.external_tasks) {
    if (std::ranges::count(experts, section.task.expert) > 0) {
      owners.emplace(section.name, section.task.expert);
    }
  }
  return owners;
}

void check_task_sections(const JobSpec& job, const JobZoos& zoos) {
  for (const TaskSection& section : job.external_tasks) {
    const std::string where = job.where(section.line) + "[task:" + section.name + "]: ";
    for (const auto& [text, zoo] : zoos) {
      if (std::ranges::count(zoo.tasks, section.name) > 0) {
        throw ConfigError(where + "zoo '" + zoo.name +
                          "' has a task of that name; call the section otherwise");
      }
      const auto experts = zoo.expert_names();
      if (!section.task.expert.empty() && std::ranges::count(experts, section.task.expert) == 0) {
        throw ConfigError(where + "'expert' must be one of zoo '" + zoo.name + "', but it is '" +
                          section.task.expert + "'" + alternatives(section.task.expert, experts));
      }
    }
  }
}

void check_external_cells(const JobSpec& job, const JobZoos& zoos, const std::vector<Cell>& cells) {
  if (job.external_tasks.empty()) {
    return;
  }
  const ChoosingTasks choosing(job, zoos, cells);
  const std::set<std::string> swept = swept_cells(cells);
  for (const Cell& cell : cells) {
    const TaskSection* section = task_section(job, cell.task);
    if (section == nullptr) {
      continue;
    }
    at_line(job, section->line, [&] {
      check_yields(cell, *section);
      check_clean(cell, *section);
      const bool chosen_by = job.tests_chosen_only || choosing.has(cell);
      if (!section->task.has_validation && swept.contains(cell.name()) && chosen_by) {
        throw ConfigError(
            "[task:" + section->name +
            "] has no validation examples, by which one of the settings of method '" + cell.method +
            "' is to be chosen" +
            (job.tests_chosen_only ? " ('test = chosen' validates every setting first)" : "") +
            "; give each method a single setting, or let the command answer for the split 'val' "
            "and write 'validation = yes'");
      }
    });
  }
}

void bind_external_tasks(JobSpec& job, std::vector<Cell>& cells) {
  for (TaskSection& section : job.external_tasks) {
    at_line(job, section.line, [&] { digest_files(section.task.command); });
    const ExternalTask& task = section.task;
    auto bindings = command_bindings(task.command, "task ");
    bindings["task metric"] = task.metric;
    bindings["task limit"] = task.limit > 0 ? number_text(task.limit) : "all examples";
    bindings["task validation"] = task.has_validation ? "yes" : "no";
    for (Cell& cell : cells) {
      if (cell.task == section.name) {
        cell.task_bindings = bindings;
      }
    }
  }
}

TaskRecord external_task_record(const std::string& zoo, const TaskSection& section) {
  const ExternalTask& task = section.task;
  return {zoo,         section.name, kExternalKind, task.metric, to_string(task.better), to_string(task.unit),
          section.name};
}

}  // namespace fusegrid
