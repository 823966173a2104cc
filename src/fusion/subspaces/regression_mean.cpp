#include "fusion/subspaces/regression_mean.h"

#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cholesky_solve.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include "fusion/loops/slice_vector.h"

namespace fusegrid {

at::Tensor solve_semidefinite(const at::Tensor& matrix, const at::Tensor& right) {
  const auto [factor, failed] = at::linalg_cholesky_ex(matrix);
  if (failed.item<int32_t>() == 0) {
    return at::cholesky_solve(right, factor);
  }
  const auto [values, vectors] = at::linalg_eigh(matrix);
  const double tolerance = static_cast<double>(matrix.size(0)) * std::numeric_limits<double>::epsilon();
  const at::Tensor kept = values > values.abs().max() * tolerance;
  const at::Tensor inverse = at::where(kept, 1 / at::where(kept, values, 1.0), 0.0);
  return at::matmul(vectors * inverse, at::matmul(vectors.t(), right));
}

at::Tensor regression_mean(const std::vector<at::Tensor>& weights, const std::vector<at::Tensor>& grams,
                           double ratio, double ridge) {
  const at::Tensor mean = mean_of(weights).to(at::kDouble).t();  // [in, out]
  at::Tensor gram_sum = at::zeros_like(grams[0]);
  at::Tensor right = at::zeros_like(mean);  // sum_i G_i (W_i - mean): zero where the experts agree
  for (size_t i = 0; i < grams.size(); ++i) {
    const at::Tensor gram = grams[i] * ratio + grams[i].diagonal().diag() * (1 - ratio);
    gram_sum.add_(gram);
    right.add_(at::matmul(gram, weights[i].to(at::kDouble).t() - mean));
  }
  const at::Tensor unit = gram_sum.diagonal().mean().clamp_min(1e-300);
  gram_sum.diagonal().add_(unit * ridge);
  return (mean + solve_semidefinite(gram_sum, right)).t().to(at::kFloat);
}

}  // namespace fusegrid
