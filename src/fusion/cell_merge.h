// What the merge of a cell depends on, told by the card of its method alone: whoever plans, estimates or makes merges
// asks here.
#pragma once

#include <string>
#include <vector>

#include "core/cell.h"
#include "fusion/method.h"

namespace fusegrid {

// Cells with the same name share one merge: all up to the task, and the shift for methods that adapt on inputs.
std::string merge_name(const Cell& cell);

// The models that a merge of these experts reads, as a zoo names them: "base", "expert/<task>", "multitask".
std::vector<std::string> models_read(const MethodCard& card, const std::vector<std::string>& experts);
inline constexpr const char* kBaseModel = "base";
inline constexpr const char* kMultitaskModel = "multitask";
std::string expert_model(const std::string& task);

}  // namespace fusegrid
