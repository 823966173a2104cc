#include "fusion/slice.h"

#include <ATen/ops/sub.h>

namespace fusegrid {

at::Tensor Slice::task_vector(size_t expert) const {
  if (!base.defined()) {
    throw AccessError("a task vector needs the base: declare Need::kPretrained in the method's card");
  }
  return at::sub(experts[expert], base);
}

}  // namespace fusegrid
