#include "fusion/selection.h"

#include <tuple>

#include <ATen/TensorOperators.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/kthvalue.h>
#include <ATen/ops/softmax.h>

#include "core/errors.h"

namespace fusegrid {

at::Tensor largest_mask(const at::Tensor& values, int64_t count) {
  const int64_t size = values.numel();
  if (count <= 0 || count >= size) {
    return at::full_like(values, count > 0, at::TensorOptions(at::kBool));
  }
  const at::Tensor flat = values.reshape({-1});
  const at::Tensor threshold = std::get<0>(at::kthvalue(flat, size - count + 1));
  at::Tensor mask = flat > threshold;
  const at::Tensor equal = flat == threshold;
  const at::Tensor places = count - mask.sum();  // left for entries that equal the threshold
  mask.logical_or_(equal.logical_and(equal.cumsum(0) <= places));
  return mask.view(values.sizes());
}

double kth_value(const at::Tensor& values, int64_t k) {
  FUSEGRID_ASSERT(k >= 1 && k <= values.numel(), "k = " + std::to_string(k));
  return std::get<0>(at::kthvalue(values.reshape({-1}), k)).item<double>();
}

at::Tensor softmax_importance(const at::Tensor& expert, const at::Tensor& base) {
  constexpr double kEpsilon = 1e-8;
  const at::Tensor p = at::softmax(expert, -1) + kEpsilon;
  const at::Tensor q = at::softmax(base, -1) + kEpsilon;
  const at::Tensor divergence = (p * (p / q).log()).sum({-1}, true);
  return (expert - base).abs() * divergence;
}

}  // namespace fusegrid
