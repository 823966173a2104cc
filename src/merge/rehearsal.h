#pragma once

#include "fusion/engines/stream_engine.h"
#include "merge/merge.h"

namespace fusegrid {

// The configurations of a plan, as a session runs them. `plan` must outlive them.
std::vector<StreamConfiguration> configurations_of(const MergePlan& plan);

// Runs the plan's methods on a few random numbers in place of the models: how many passes they make together, and
// whether a method asks for what a streamed merge cannot give, without reading a weight. Throws what the methods throw.
StreamStats rehearse(const MergePlan& plan);

}  // namespace fusegrid
