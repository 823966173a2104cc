// DARE's step: drop entries of a task vector at random, make up for them in what is kept.
#pragma once

#include <string>
#include <vector>

#include "fusion/fusion_input.h"

namespace fusegrid {

// Which entries of a task vector are kept, as bool: each is dropped with probability `drop_rate`. An entry's number
// depends on (seed, task, position in the model) alone: never on the grain, the order of experts or the ranks.
at::Tensor kept_at_random(const FusionInput& in, const Slice& slice, size_t expert, double drop_rate);

// The task vectors without the entries that are dropped, times a factor each. Rates and factors: [experts].
std::vector<SliceVector> randomly_dropped(const FusionInput& in, const Slice& slice,
                                          const std::vector<double>& drop_rates,
                                          const std::vector<double>& factors);

// The factor that gives what is kept the L1 norm of the whole; 1 where either is below 1e-7 (mergekit's rule).
double l1_rescaling(double whole, double kept);
// `kept` times that factor; both of one whole tensor.
at::Tensor with_l1_norm_of(const at::Tensor& whole, const at::Tensor& kept);

// Factor of each tensor and expert, [tensor * experts + expert]: rescale = "inverse" 1 / (1 - drop_rate), "l1" the
// factor above per tensor, "none" 1. One rate per expert. At most one pass per seed and rates.
std::vector<double> drop_rescaling(const FusionInput& in, const std::vector<double>& drop_rates,
                                   const std::string& rescale);

}  // namespace fusegrid
