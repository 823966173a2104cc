#include "fusion/alignment/permutation.h"

#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

at::Tensor as_indices(const Permutation& permutation, at::Device device) {
  return at::tensor(permutation, at::kLong).to(device);
}

}  // namespace

Permutation unmoved(int64_t units) {
  Permutation permutation(static_cast<size_t>(units));
  std::iota(permutation.begin(), permutation.end(), 0);
  return permutation;
}

Permutation inverse_of(const Permutation& permutation) {
  Permutation inverse(permutation.size());
  for (size_t k = 0; k < permutation.size(); ++k) {
    inverse[static_cast<size_t>(permutation[k])] = static_cast<int64_t>(k);
  }
  return inverse;
}

Permutation composed(const Permutation& first, const Permutation& then) {
  Permutation both(then.size());
  for (size_t k = 0; k < then.size(); ++k) {
    both[k] = first.at(static_cast<size_t>(then[k]));
  }
  return both;
}

at::Tensor matrix_of(const Permutation& permutation, at::Device device) {
  const auto n = static_cast<int64_t>(permutation.size());
  at::Tensor matrix = at::zeros({n, n}, at::kDouble);
  double* entries = matrix.mutable_data_ptr<double>();
  for (int64_t k = 0; k < n; ++k) {
    entries[k * n + permutation[static_cast<size_t>(k)]] = 1;
  }
  return matrix.to(device);
}

Alignment unmoved(const std::vector<AxisGroup>& groups) {
  Alignment alignment;
  for (const AxisGroup& group : groups) {
    alignment.emplace(group.name, unmoved(group.size));
  }
  return alignment;
}

Alignment inverse_of(const Alignment& alignment) {
  Alignment inverse;
  for (const auto& [group, permutation] : alignment) {
    inverse.emplace(group, inverse_of(permutation));
  }
  return inverse;
}

double moved_units(const std::vector<Alignment>& alignments) {
  double moved = 0;
  double all = 0;
  for (const Alignment& alignment : alignments) {
    for (const auto& [group, permutation] : alignment) {
      for (size_t k = 0; k < permutation.size(); ++k) {
        moved += permutation[k] == static_cast<int64_t>(k) ? 0 : 1;
        all += 1;
      }
    }
  }
  return all > 0 ? moved / all : 0;
}

AxesByTensor axes_by_tensor(const std::vector<AxisGroup>& groups) {
  AxesByTensor axes;
  for (const AxisGroup& group : groups) {
    for (const AxisGroup::Axis& axis : group.axes) {
      axes[axis.tensor].push_back({axis.axis, axis.makes, group.name, group.size});
    }
  }
  return axes;
}

at::Tensor permuted(const at::Tensor& tensor, const std::vector<AxisOfGroup>& axes,
                    const Alignment& alignment) {
  at::Tensor result = tensor;
  for (const AxisOfGroup& along : axes) {
    const auto found = alignment.find(along.group);
    if (found == alignment.end()) {
      continue;
    }
    const int64_t entries = result.size(along.axis);
    FUSEGRID_ASSERT(entries % along.size == 0, "an axis of group " + along.group);
    result = result.unflatten(along.axis, {along.size, entries / along.size})
                 .index_select(along.axis, as_indices(found->second, tensor.device()))
                 .flatten(along.axis, along.axis + 1);
  }
  return result;
}

Weights permuted(const Weights& weights, const std::vector<AxisGroup>& groups, const Alignment& alignment) {
  Weights result = weights;
  for (const auto& [name, axes] : axes_by_tensor(groups)) {
    at::Tensor& tensor = result.at(name);
    tensor = permuted(tensor, axes, alignment);
  }
  return result;
}

}  // namespace fusegrid
