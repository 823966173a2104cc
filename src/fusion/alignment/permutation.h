#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/weights.h"
#include "models/architecture.h"

namespace fusegrid {

// Unit k of what is permuted is unit permutation[k] of what it was.
using Permutation = std::vector<int64_t>;

// A permutation of the units of axis groups, by their names. Groups that are missing stay as they are.
using Alignment = std::map<std::string, Permutation>;

Permutation unmoved(int64_t units);
Permutation inverse_of(const Permutation& permutation);
// By `first`, then what comes out by `then`.
Permutation composed(const Permutation& first, const Permutation& then);
// The matrix [n, n] that permutes columns of unit values from the left, float64 on `device`.
at::Tensor matrix_of(const Permutation& permutation, at::Device device);
Alignment unmoved(const std::vector<AxisGroup>& groups);
Alignment inverse_of(const Alignment& alignment);
// Fraction of the units that are not where they were.
double moved_units(const std::vector<Alignment>& alignments);

// A tensor's axes that groups lie along.
struct AxisOfGroup {
  int64_t axis = 0;
  bool makes = false;
  std::string group;
  int64_t size = 0;  // units of the group
};
// By tensor. Throws an assertion where a tensor that lies along a group has no multiple of its size there.
using AxesByTensor = std::map<std::string, std::vector<AxisOfGroup>>;
AxesByTensor axes_by_tensor(const std::vector<AxisGroup>& groups);

// The tensor with the entries of its axes permuted; those of a unit stay together. Axes whose group the alignment has
// not got stay.
at::Tensor permuted(const at::Tensor& tensor, const std::vector<AxisOfGroup>& axes,
                    const Alignment& alignment);

// The model with units permuted: the same function up to rounding, if the groups are right. Tensors that lie along no
// group are shared.
Weights permuted(const Weights& weights, const std::vector<AxisGroup>& groups, const Alignment& alignment);

}  // namespace fusegrid
