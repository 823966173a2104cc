#include "models/unit_rows.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_vector_norm.h>

namespace fusegrid {

at::Tensor unit_rows(const at::Tensor& x) {
  constexpr double kSmallestLength = 1e-12;
  return x / at::linalg_vector_norm(x, 2, {{1}}, true).clamp_min(kSmallestLength);
}

}  // namespace fusegrid
