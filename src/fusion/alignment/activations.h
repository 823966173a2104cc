#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "fusion/fusion_input.h"

namespace fusegrid {

// What the units of an axis group have to do with each other, of all experts on the same inputs, side by side: float64
// [experts * units, experts * units], expert 0's units first. Of a group with several nodes (a residual stream) the
// mean over them; of units of several entries the mean over entries, each with its counterpart.
struct UnitActivations {
  at::Tensor correlations;  // Pearson's, in [-1, 1]; 0 where a unit does not vary
  at::Tensor distances;     // mean squared difference of activations
};

// By axis group. Samples are all rows that count of `examples` unlabelled training inputs (at every position of an
// image), which are dealt evenly over the tasks of the experts; every expert sees those of all of them. One forward
// pass of each expert. Need::kTrainInputs; ConfigError where the experts have no task.
std::map<std::string, UnitActivations> unit_activations(const FusionInput& in, int64_t examples);

// A block of a matrix [experts * units, experts * units]: rows of one expert, columns of another.
at::Tensor block_of(const at::Tensor& matrix, size_t experts, size_t row, size_t column);

// The parameter `examples` of every method that matches activations.
template <typename Visitor>
void describe_matching_examples(Visitor& v, int64_t& examples) {
  v.param("examples", examples, Range{1, 1e6}, "unlabelled training inputs that activations are compared on");
}

}  // namespace fusegrid
