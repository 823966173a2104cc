#include "metrics/frechet.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/diag.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/linalg_eigvalsh.h>
#include <ATen/ops/matmul.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

struct Normal {
  at::Tensor mean, covariance;
};

Normal normal_of(const at::Tensor& rows) {
  FUSEGRID_ASSERT(rows.dim() == 2 && rows.size(0) > 0, "features of one example or more");
  const at::Tensor x = rows.to(at::kCPU, at::kDouble);
  const at::Tensor mean = x.mean(0);
  const at::Tensor centred = x - mean;
  return {mean, centred.t().matmul(centred) / static_cast<double>(rows.size(0))};
}

at::Tensor root_of(const at::Tensor& covariance) {
  const auto [values, vectors] = at::linalg_eigh(covariance);
  return (vectors * values.clamp_min(0).sqrt()).matmul(vectors.t());
}

}  // namespace

double frechet_distance(const at::Tensor& a, const at::Tensor& b) {
  const Normal first = normal_of(a), second = normal_of(b);
  const at::Tensor root = root_of(first.covariance);
  const at::Tensor product = root.matmul(second.covariance).matmul(root);
  const at::Tensor overlap = at::linalg_eigvalsh((product + product.t()) / 2).clamp_min(0).sqrt().sum();
  const at::Tensor traces = at::diag(first.covariance).sum() + at::diag(second.covariance).sum();
  const at::Tensor distance = (first.mean - second.mean).square().sum() + traces - 2 * overlap;
  return distance.clamp_min(0).item<double>();
}

}  // namespace fusegrid
