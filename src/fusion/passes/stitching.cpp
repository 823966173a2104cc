#include "fusion/passes/stitching.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>

namespace fusegrid {

at::Tensor stitched(const std::vector<at::Tensor>& taus, const std::vector<at::Tensor>& masks) {
  at::Tensor sum = at::zeros_like(taus[0]);
  at::Tensor count = at::zeros_like(taus[0]);
  for (size_t i = 0; i < taus.size(); ++i) {
    sum.addcmul_(masks[i], taus[i]);
    count.add_(masks[i]);
  }
  return sum.div_(count.clamp_min_(1));
}

}  // namespace fusegrid
