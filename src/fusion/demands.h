#pragma once

#include <map>
#include <string>

#include "fusion/method.h"
#include "models/architecture.h"
#include "models/readout.h"
#include "tasks/kind.h"

namespace fusegrid {

// ConfigError naming the method, what it asks for and what has not got it: the models' architecture, or one of the
// tasks (name -> kind).
void check_demands(const Method& method, const ParamText& parameters, const Architecture& architecture,
                   const std::map<std::string, const TaskKind*>& tasks);

// The rest of Demand::kAffineHeads, which the heads of a zoo say. ConfigError likewise.
void check_affine_head(const std::string& method, const std::string& task, const Readout& head);

// For methods that read them, which need not have been called by a grid: ConfigError likewise where there are none.
const Blocks& required_blocks(const std::string& method, const Architecture& architecture);

}  // namespace fusegrid
