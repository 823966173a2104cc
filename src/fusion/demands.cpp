#include "fusion/demands.h"

#include <algorithm>

#include "core/errors.h"
#include "fusion/alignment/unit_maps.h"
#include "fusion/whole_model/batch_statistics.h"

namespace fusegrid {
namespace {

// Its tower of texts makes the rows that images are compared with, so that models cannot share them.
bool has_two_towers(const Architecture& architecture) {
  const InputFormat input = architecture.input();
  return input.image_size > 0 && input.vocabulary > 0;
}

bool has(const Architecture& architecture, Demand demand) {
  switch (demand) {
    case Demand::kBlocks:
      return architecture.blocks() != nullptr;
    case Demand::kLayers:
      return !architecture.layers().empty();
    case Demand::kAxisGroups:
      return !architecture.axis_groups().empty();
    case Demand::kFreeWidths:
      return has_free_widths(architecture);
    case Demand::kRunningStatistics:
      return has_running_statistics(architecture);
    case Demand::kRepairable:
      return is_repairable(architecture);
    case Demand::kHeads: {
      if (has_two_towers(architecture)) {
        return false;
      }
      const auto head = architecture.own_head();
      return !head || head->of_tokens();
    }
    case Demand::kHeadInside: {
      const auto head = architecture.own_head();
      return head && !head->of_tokens();
    }
    case Demand::kAffineHeads:
      return has(architecture, Demand::kHeads);  // and asked of heads
    case Demand::kDistribution:
    case Demand::kClasses:
      return true;  // asked of tasks
  }
  FUSEGRID_ASSERT(false, "unknown demand");
}

bool has(const TaskKind& kind, Demand demand) {
  switch (demand) {
    case Demand::kDistribution:
      return kind.has_distribution();
    case Demand::kClasses:
      return kind.has_classes();
    case Demand::kAffineHeads:
    case Demand::kHeads:
      return !kind.has_tokens();
    case Demand::kBlocks:
    case Demand::kLayers:
    case Demand::kAxisGroups:
    case Demand::kFreeWidths:
    case Demand::kRunningStatistics:
    case Demand::kRepairable:
    case Demand::kHeadInside:
      return true;  // asked of models
  }
  FUSEGRID_ASSERT(false, "unknown demand");
}

[[noreturn]] void refuse(const std::string& method, Demand demand, const std::string& lacking) {
  throw ConfigError("method '" + method + "' needs " + to_string(demand) + ", which " + lacking +
                    " has not; leave the method out, or run it on another zoo");
}

// Inputs that say the answer are handed out to methods that may see labels, and to no others.
void check_data(const Method& method, const std::set<Need>& needs,
                const std::map<std::string, const TaskKind*>& tasks) {
  const bool adapts = needs.contains(Need::kTestInputs) || needs.contains(Need::kValidationInputs);
  if (!adapts && (!needs.contains(Need::kTrainInputs) || needs.contains(Need::kTrainLabels))) {
    return;
  }
  for (const auto& [task, kind] : tasks) {
    if (kind->inputs_are_labels()) {
      throw ConfigError("method '" + method.card.name +
                        "' looks at inputs without labels, but the inputs of task '" + task +
                        "' are its labels; leave the method out, or run it on another zoo");
    }
  }
}

// Who adapts gives the inputs of all tasks to one pass (AdaptationStream), which has an answer of each or of none.
void check_one_pass(const Method& method, const std::set<Need>& needs,
                    const std::map<std::string, const TaskKind*>& tasks) {
  if (!needs.contains(Need::kTestInputs) && !needs.contains(Need::kValidationInputs)) {
    return;
  }
  const auto with_answer =
      std::ranges::find_if(tasks, [](const auto& task) { return task.second->has_tokens(); });
  const auto without =
      std::ranges::find_if(tasks, [](const auto& task) { return !task.second->has_tokens(); });
  if (with_answer != tasks.end() && without != tasks.end()) {
    throw ConfigError("method '" + method.card.name +
                      "' adapts on the inputs of all tasks together, but the answers of task '" +
                      with_answer->first + "' are tokens and those of task '" + without->first +
                      "' are not; merge experts of either, or leave the method out");
  }
}

// A zero-shot head asks the tower of texts for its rows outside of the passes in which layers are routed.
void check_routing(const Method& method, const Architecture& architecture,
                   const std::map<std::string, const TaskKind*>& tasks) {
  if (method.card.yields != Yields::kRoutedModel || !has_two_towers(architecture) ||
      architecture.input().together) {
    return;
  }
  for (const auto& [task, kind] : tasks) {
    if (kind->has_classes()) {
      throw ConfigError("method '" + method.card.name +
                        "' routes the layers of a pass, but the rows of task '" + task +
                        "' are made of its prompts outside of it; leave the method out, or the task");
    }
  }
}

}  // namespace

void check_demands(const Method& method, const ParamText& parameters, const Architecture& architecture,
                   const std::map<std::string, const TaskKind*>& tasks) {
  check_data(method, method.needs(parameters), tasks);
  check_one_pass(method, method.needs(parameters), tasks);
  check_routing(method, architecture, tasks);
  for (const Demand demand : method.demands(parameters)) {
    if (!has(architecture, demand)) {
      refuse(method.card.name, demand, architecture.name());
    }
    for (const auto& [task, kind] : tasks) {
      if (!has(*kind, demand)) {
        refuse(method.card.name, demand, "task '" + task + "'");
      }
    }
  }
}

void check_affine_head(const std::string& method, const std::string& task, const Readout& head) {
  if (!head.is_affine()) {
    refuse(method, Demand::kAffineHeads, "task '" + task + "'");
  }
}

const Blocks& required_blocks(const std::string& method, const Architecture& architecture) {
  const Blocks* blocks = architecture.blocks();
  if (blocks == nullptr) {
    refuse(method, Demand::kBlocks, architecture.name());
  }
  return *blocks;
}

}  // namespace fusegrid
