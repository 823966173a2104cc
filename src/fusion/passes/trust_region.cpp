#include "fusion/passes/trust_region.h"

#include <algorithm>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>

namespace fusegrid {

TrustRegion::TrustRegion(const FusionInput& in, Sensitivities sensitivities, double keep)
    : sensitivities_(std::move(sensitivities)) {
  const auto count = static_cast<int64_t>(static_cast<double>(in.num_elements()) * keep);
  largest_ = in.kth_smallest(Order::kValues, 1, {std::max<int64_t>(count, 1)},
                             [&](const Slice& slice) { return views({omega(slice)}); })[0][0];
}

at::Tensor TrustRegion::mask(const Slice& slice) const {
  return omega(slice).le(largest_).to(at::kFloat);
}

// Sums over those in front of an expert and those behind it, so that nothing cancels.
at::Tensor TrustRegion::omega(const Slice& slice) const {
  const std::vector<at::Tensor> sensitivities = sensitivities_(slice);
  std::vector<at::Tensor> others(slice.num_experts(), at::zeros_like(slice.base()));
  at::Tensor sum = at::zeros_like(slice.base());
  for (size_t i = 0; i < others.size(); ++i) {
    others[i] = sum;
    sum = sum + slice.task_vector(i).abs();
  }
  sum = at::zeros_like(slice.base());
  for (size_t i = others.size(); i-- > 0;) {
    others[i] = others[i] + sum;
    sum = sum + slice.task_vector(i).abs();
  }
  at::Tensor omega = at::zeros_like(slice.base());
  for (size_t i = 0; i < others.size(); ++i) {
    omega.addcmul_(sensitivities[i], others[i]);
  }
  return omega;
}

FusedModel move_within(const FusionInput& in, const TrustRegion& region, const std::string& base,
                       double scale) {
  const Field direction = method_registry().at(base).direction(in, {});
  const auto moved = [&](const Slice& slice) {
    return add_scaled(slice.base_view(), slice[direction] * region.mask(slice), scale);
  };
  return one_model(direction.whole_tensors ? in.map_tensors(moved) : in.map_elements(moved));
}

}  // namespace fusegrid
