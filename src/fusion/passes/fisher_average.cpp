#include "fusion/passes/fisher_average.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>

namespace fusegrid {
namespace {

// c_i, summing to 1.
std::vector<double> shares(const std::vector<std::shared_ptr<const Weights>>& diagonals, bool normalised) {
  std::vector<double> weights;
  double sum = 0;
  for (const auto& diagonal : diagonals) {
    double squared = 0;
    for (const auto& [name, values] : *diagonal) {
      squared += values.to(at::kDouble).square().sum().item<double>();
    }
    weights.push_back(normalised ? 1 / (std::sqrt(squared) + 1e-6) : 1);
    sum += weights.back();
  }
  for (double& weight : weights) {
    weight /= sum;
  }
  return weights;
}

}  // namespace

FusedModel fisher_average(const FusionInput& in, const std::vector<std::shared_ptr<const Weights>>& diagonals,
                          bool normalised, double floor) {
  const auto weights = shares(diagonals, normalised);
  return one_model(in.map_elements([&](const Slice& slice) {
    at::Tensor numerator = at::zeros_like(slice.expert(0));
    at::Tensor denominator = at::zeros_like(slice.expert(0));
    for (size_t i = 0; i < diagonals.size(); ++i) {
      const at::Tensor importance = (slice.of(*diagonals[i]) + floor).mul_(weights[i]);
      numerator.addcmul_(importance, slice.expert(i));
      denominator.add_(importance);
    }
    return numerator.div_(denominator);
  }));
}

}  // namespace fusegrid
