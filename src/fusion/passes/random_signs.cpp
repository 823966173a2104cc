#include "fusion/passes/random_signs.h"

#include <ATen/TensorOperators.h>

#include "core/philox.h"

namespace fusegrid {

at::Tensor column_signs(const FusionInput& in, size_t expert, const TensorInfo& tensor) {
  const int64_t columns = tensor.shape.empty() ? 1 : tensor.shape.back();
  const uint64_t key = derive_key(in.seed(), "randes/" + in.expert_names()[expert] + "/" + tensor.name);
  return (uniform(key, 0, 0, columns) < 0.5).to(at::kFloat) * 2 - 1;
}

}  // namespace fusegrid
