// ASWUDI (SWUDI-A): WUDI's merged matrix in closed form in as many of its leading input directions as take part in the
// task vectors, and the sum of these in the others.
//
// Source:  Wei et al., "Closed-Form Spectral Regularization for Multi-Task Model Merging", 2026, arXiv:2606.07289, and
//          the authors' code with its default rule of ranks, participation_sqrt.
// Differs: as swudi.
// Cost:    as swudi.

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>

#include "fusion/passes/direction.h"
#include "fusion/subspaces/interference.h"
#include "fusion/subspaces/svd.h"

namespace fusegrid::methods::aswudi {
namespace {

struct Options {
  double scale = 1.0;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("scale", scale, Range{-2, 3}, "multiplier of the merged task vector");
  }
};

// (sum_k s_k)^2 / sum_k s_k^2 of the singular values s, rounded up: how many of them take part.
int64_t participating(const at::Tensor& eigenvalues) {
  const at::Tensor s = eigenvalues.clamp_min(kLeastEigenvalue).sqrt();
  const auto sum = s.sum().item<double>();
  const auto rank = std::llround(std::ceil(sum * sum / s.square().sum().item<double>()));
  return std::clamp<int64_t>(rank, 1, s.numel());
}

at::Tensor merged(const Slice& slice) {
  if (!is_matrix(*slice.info)) {
    return mean_of(slice.task_vector_views());
  }
  const Interference parts = interference(slice, /*normalised=*/true);
  at::Tensor filter = at::zeros_like(parts.values);
  filter.narrow(0, 0, participating(parts.values)).fill_(1);
  return filtered_solution(parts, parts.sum, filter, kLeastEigenvalue).to(at::kFloat);
}

Field direction(const FusionInput& in, const Options&, const std::string& key) {
  return in.matrix_field(key, merged);
}

const RegisterDirection<Options> registered{
    {.name = "aswudi",
     .title = "ASWUDI",
     .paper = "Wei et al., 2026, arXiv:2606.07289",
     .formula =
         R"(matrices  C = sum_i tau_i^T tau_i / |tau_i|^2 = V diag(l) V^T,   D = sum_i tau_i tau_i^T tau_i / |tau_i|^2
          K = (sum_k l_k^1/2)^2 / sum_k l_k,   f_k = 1 of the K leading l_k, else 0
          tau = s + (D C^+ - s) V diag(f) V^T,   s = sum_i tau_i
others    tau = mean_i tau_i
theta = theta_0 + scale * tau)",
     .family = Family::kSubspace,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained},
     .cost = Cost::kMatrix},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::aswudi
