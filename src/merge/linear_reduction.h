#pragma once

#include <functional>

#include "comm/collectives.h"
#include "fusion/engines/stream_engine.h"
#include "merge/merge.h"

namespace fusegrid {

// The other way to merge models that lie on different ranks, for methods that are linear in the weights: every rank
// adds up coefficient * model of its own models, and an all-reduce adds the partial sums of the ranks. It moves one sum
// for each configuration, however many models a rank has. In fixed point (terms rounded to multiples of 2^-40, sums
// exact) the bits are those of any number of ranks and any place of the models; in float32 they depend on both.

// Throws ConfigError where a method is not linear, naming those that are, or an option does not go with it.
void check_linear_reduction(const MergeSpec& spec);

// Makes all outputs of the plan. Collective. Throws AgreedError; numbers that are not finite, or too large for fixed
// point, are errors.
StreamStats reduce_linear(const MergePlan& plan, const StreamLayout& layout, Collectives& group,
                          StreamSink& sink, const std::function<void(double share)>& progress);

}  // namespace fusegrid
