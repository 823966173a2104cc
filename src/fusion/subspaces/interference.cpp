#include "fusion/subspaces/interference.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "fusion/subspaces/svd.h"

namespace fusegrid {

Interference interference(const Slice& slice, bool normalised) {
  const int64_t columns = slice.base().size(1);
  const auto of_base = slice.base().options().dtype(at::kDouble);
  Interference parts;
  parts.sum = at::zeros(slice.base().sizes(), of_base);
  parts.target = at::zeros_like(parts.sum);
  at::Tensor inputs = at::zeros({columns, columns}, of_base);
  for (size_t i = 0; i < slice.num_experts(); ++i) {
    const at::Tensor tau = exact_task_vector(slice, i);
    const auto norm = tau.square().sum().item<double>();
    if (norm > 0) {
      const at::Tensor gram = at::matmul(tau.t(), tau) / (normalised ? norm : 1);
      parts.sum.add_(tau);
      parts.target.add_(at::matmul(tau, gram));
      inputs.add_(gram);
    }
  }
  const auto [values, vectors] = at::linalg_eigh(inputs);
  parts.values = values.flip(0).clamp_min(0);
  parts.vectors = vectors.flip(1);
  return parts;
}

at::Tensor filtered_solution(const Interference& parts, const at::Tensor& start, const at::Tensor& filter,
                             double least) {
  const at::Tensor solved = at::matmul(parts.target, parts.vectors) / parts.values.clamp_min(least);
  const at::Tensor step = (solved - at::matmul(start, parts.vectors)) * filter;
  return start + at::matmul(step, parts.vectors.t());
}

}  // namespace fusegrid
