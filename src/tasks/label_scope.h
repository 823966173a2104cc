#pragma once

#include <functional>
#include <string>
#include <vector>

#include "store/task_pack.h"

namespace fusegrid {

// The evaluation condition under which a class is looked for among those of all merged tasks. It changes no inputs.
//
// Source: Tam et al., "Realistic Evaluation of Model Merging for Compositional Generalization", 2024, arXiv:2409.18314,
//         whose classifiers choose among the classes of all categories.
inline constexpr const char* kAllLabels = "all_labels";

// Whose classes an answer to a task is looked for among then: the task itself, and behind it the merged tasks in their
// order, of several with equal names of classes the first, but for those with the task's own.
//   info    of a task of the pack
//   Throws  ConfigError: where an answer is no class, where no merged task has the task's classes, so that its label is
//           not among them, or where no other has other classes
std::vector<std::string> tasks_of_all_labels(const std::string& task, const std::vector<std::string>& merged,
                                             const std::function<const TaskInfo&(const std::string&)>& info);

}  // namespace fusegrid
