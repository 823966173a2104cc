#include "fusion/slice.h"

#include <ATen/ops/sub.h>

namespace fusegrid {

at::Tensor Slice::task_vector(size_t expert) const {
  if (!base.defined()) {
    throw AccessError("a task vector needs the base: declare Need::kPretrained in the method's card");
  }
  return at::sub(experts[expert], base);
}

at::Tensor Slice::of(const Weights& whole) const {
  const at::Tensor& tensor = whole.at(name());
  const bool own_shape = count == tensor.numel() && experts.front().dim() == tensor.dim();
  return own_shape ? tensor : tensor.view({-1}).narrow(0, begin, count);
}

}  // namespace fusegrid
