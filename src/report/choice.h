#pragma once

#include <set>
#include <string>

#include "store/records.h"

namespace fusegrid {

// The method whose cells say what a task's own expert reaches: the unit for comparing scores of several metrics.
inline constexpr const char* kOwnScores = "individual";

// Names of the cells of settings that validation chose, on any board, and that have no test metrics yet: what
// `test = chosen` evaluates last. Throws as make_boards().
std::set<std::string> chosen_untested_cells(const Records& records);

}  // namespace fusegrid
