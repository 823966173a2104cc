#include "fusion/subspaces/matrix_merges.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/where.h>

#include "core/concatenate.h"
#include "fusion/passes/selection.h"
#include "fusion/passes/sign_election.h"

namespace fusegrid {

at::Tensor ties_of_parameter(const std::vector<at::Tensor>& values, int64_t kept, const std::string& merge) {
  std::vector<at::Tensor> largest;
  for (const at::Tensor& value : values) {
    largest.push_back(at::where(largest_mask(value.abs(), kept), value, 0.0));
  }
  return merge_elected(views(largest), untrimmed(largest.size()), merge);
}

at::Tensor orthogonalised_sum(const std::vector<Svd>& parts) {
  std::vector<at::Tensor> u;
  std::vector<at::Tensor> s;
  std::vector<at::Tensor> v;
  for (const Svd& part : parts) {
    u.push_back(part.u);
    s.push_back(part.s);
    v.push_back(part.v);
  }
  const at::Tensor left = polar_factor(concatenate(u, 1));
  const at::Tensor right = polar_factor(concatenate(v, 1));
  return at::matmul(left * concatenate(s), right.t());
}

at::Tensor isotropic(const at::Tensor& matrix, int64_t directions) {
  const Svd svd = significant_svd(matrix);
  return at::matmul(svd.u, svd.v.t()) * (svd.s.sum() / static_cast<double>(directions));
}

}  // namespace fusegrid
