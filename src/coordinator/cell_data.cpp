#include "coordinator/cell_data.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "core/errors.h"
#include "core/text.h"
#include "fusion/cell_merge.h"
#include "fusion/demands.h"
#include "tasks/label_scope.h"
#include "tasks/shift.h"
#include "zoo/pack_digest.h"

namespace fusegrid {
namespace {

void require_split(const Cell& cell, const PackContents& contents, const std::string& task,
                   const std::string& split) {
  const auto found = contents.find(task);
  if (found == contents.end() || !found->second.examples.contains(split) ||
      found->second.examples.at(split) == 0) {
    throw ConfigError("cell '" + cell.name() + "' needs examples of split '" + split + "' of task '" + task +
                      "', but the task pack has none; use another pack, or leave the cell out");
  }
}

// A method's demands, of the models and of the tasks that it merges and answers.
void check_cell_demands(const Cell& cell, const Zoo& zoo, const Architecture& architecture,
                        const PackContents& contents) {
  std::map<std::string, const TaskKind*> kinds;  // nobody asks for outputs on a task that a command answers
  if (const auto own = contents.find(cell.task); own != contents.end()) {
    kinds.emplace(cell.task, &task_kind(own->second.kind));
  }
  for (const auto& task : zoo.tasks_of(zoo.experts_called(cell.experts))) {
    if (const auto found = contents.find(task); found != contents.end()) {
      kinds.emplace(task, &task_kind(found->second.kind));
    }
  }
  check_demands(method_registry().at(cell.method), parse_call(cell.method_text()).second, architecture,
                kinds);
}

// Of methods that merge heads: those of the merged tasks, whatever the cell is tested on.
void check_merged_heads(const Cell& cell, const Zoo& zoo) {
  const auto demands = method_registry().at(cell.method).demands(parse_call(cell.method_text()).second);
  if (!demands.contains(Demand::kAffineHeads)) {
    return;
  }
  const Network network = load_network(zoo, zoo.replicate(cell.seed), at::kCPU);
  for (const std::string& task : zoo.tasks_of(zoo.experts_called(cell.experts))) {
    check_affine_head(cell.method, task, network.readout(task));
  }
}

// A class is answered by the experts that have seen it.
void check_classes_are_seen(const Cell& cell, const Zoo& zoo, const PackContents& contents) {
  const auto needs = method_registry().at(cell.method).needs(parse_call(cell.method_text()).second);
  const auto own = contents.find(cell.task);
  if (!needs.contains(Need::kClassesSeen) || own == contents.end()) {
    return;
  }
  std::set<int64_t> seen;
  const auto experts = zoo.experts_called(cell.experts);
  for (const std::string& name : experts) {
    for (const int64_t label : labels_seen(zoo.expert(name), own->second)) {
      seen.insert(label);
    }
  }
  const auto& classes = own->second.class_names;
  for (size_t label = 0; label < classes.size(); ++label) {
    if (!seen.contains(static_cast<int64_t>(label))) {
      throw ConfigError("method '" + cell.method +
                        "' answers a class by the experts that have seen it, but of " + join(experts, ", ") +
                        " none has seen '" + classes[label] + "' of task '" + cell.task +
                        "'; merge an expert that has, or leave the method out");
    }
  }
}

void check_shift_of(const Cell& cell, const Zoo& zoo, const PackContents& contents) {
  if (cell.shift == kAllLabels) {
    tasks_of_all_labels(cell.task, zoo.tasks_of(zoo.experts_called(cell.experts)),
                        [&](const std::string& task) -> const TaskInfo& { return contents.at(task); });
  }
  if (!changes_inputs(cell.shift)) {
    return;
  }
  const TaskInfo& task = contents.at(cell.task);
  const bool of_tokens = shifts_tokens(cell.shift);
  const std::string where = "cell '" + cell.name() + "': shift '" + cell.shift + "' changes " +
                            (of_tokens ? "tokens" : "images") + ", but ";
  const std::string remedy = "; take the shift or the task out of the job";
  if (task_kind(task.kind).has_states()) {
    throw ConfigError(where + "the models make those of task '" + cell.task + "'" + remedy);
  }
  if (of_tokens != (task.image_height == 0)) {
    throw ConfigError(where + "the inputs of task '" + cell.task + "' are " +
                      (of_tokens ? "images" : "tokens") + remedy);
  }
  if (of_tokens && task_kind(task.kind).inputs_are_labels()) {
    throw ConfigError(where + "those of task '" + cell.task + "' are what is to be predicted" + remedy);
  }
}

}  // namespace

PackContents pack_contents(const Zoo& zoo) {
  if (zoo.pack.empty()) {
    return {};
  }
  const TaskPack pack(zoo.pack);
  if (const std::string seen = pack_digest(zoo); !zoo.pack_sha256.empty() && seen != zoo.pack_sha256) {
    throw ConfigError("zoo '" + zoo.name + "' was made with another task pack than " + zoo.pack.string() +
                      " (SHA-256 " + zoo.pack_sha256 + " is recorded, the file has " + seen +
                      "); bring that pack back or build the zoo again");
  }
  PackContents contents;
  for (const auto& task : pack.tasks()) {
    contents[task.name] = task;
  }
  return contents;
}

void check_data(const std::vector<Cell>& cells, const Zoo& zoo, const PackContents& contents) {
  const auto architecture =
      load_network_without_readouts(zoo.replicates.front().layout(), at::kCPU).architecture;
  std::set<std::string> merges;
  std::set<std::tuple<std::string, std::string, std::string>>
      demands;  // (method, experts, task) that are met
  for (const auto& cell : cells) {
    if (cell.zoo != zoo.name) {
      continue;
    }
    if (std::ranges::count(zoo.tasks, cell.task) > 0) {  // else a command has the data
      require_split(cell, contents, cell.task, "val");
      require_split(cell, contents, cell.task, "test");
      check_readable(contents.at(cell.task), architecture->input());
      check_shift_of(cell, zoo, contents);
    }
    if (demands.emplace(cell.method_text(), cell.experts, cell.task).second) {
      check_cell_demands(cell, zoo, *architecture, contents);
      check_classes_are_seen(cell, zoo, contents);
    }
    if (!merges.insert(merge_name(cell)).second) {
      continue;
    }
    check_merged_heads(cell, zoo);
    const auto needs = method_registry().at(cell.method).needs(parse_call(cell.method_text()).second);
    for (const auto& task : zoo.tasks_of(zoo.experts_called(cell.experts))) {
      if (needs.contains(Need::kTrainInputs) || needs.contains(Need::kTrainLabels)) {
        require_split(cell, contents, task, "train");
      }
      if (needs.contains(Need::kTestInputs)) {
        require_split(cell, contents, task, "test");
      }
      if (needs.contains(Need::kValidationInputs) || needs.contains(Need::kValidationExamples)) {
        require_split(cell, contents, task, "val");
      }
    }
  }
}

}  // namespace fusegrid
