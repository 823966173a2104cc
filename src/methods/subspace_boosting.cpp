// Subspace Boosting: merge by another method, then raise the small singular values of the merged matrices, which the
// sum of many task vectors leaves without weight.
//
// Source:  Skorobogat et al., "Subspace-Boosted Model Merging", 2025, arXiv:2506.16506.
// Differs: the method before it runs with its own defaults. Singular values that are rounding (svd.h) are not raised:
//          their vectors are arbitrary. One threshold for all matrices, and only matrices of linear layers.
// Cost:    that of the method before it, and one SVD per matrix; a sweep of scales shares it.

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cumsum.h>

#include "fusion/passes/direction.h"
#include "fusion/subspaces/svd.h"

namespace fusegrid::methods::subspace_boosting {
namespace {

struct Options {
  std::string base = "task_arithmetic";
  double scale = 0.3;
  double beta = 0.01;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("base", base, Choices{"task_arithmetic", "ties", "trimmed_task_arithmetic", "consensus_ta"},
            "the method whose merged task vector is boosted");
    v.param("scale", scale, Range{-2, 3}, "multiplier of the boosted task vector");
    v.param("beta", beta, Range{0, 1},
            "fraction of the sum of the singular values; below the one that reaches it all are raised to it");
  }
};

at::Tensor boosted(const at::Tensor& matrix, double beta) {
  Svd svd = significant_svd(matrix);
  if (svd.rank() == 0) {
    return matrix;
  }
  const at::Tensor reached = at::cumsum(svd.s, 0) / svd.s.sum();
  const auto cutoff = std::min(reached.lt(beta).sum().item<int64_t>(), svd.rank() - 1);
  svd.s = svd.s.clamp_min(svd.s[cutoff].item<double>());
  return svd.product().to(at::kFloat);
}

Field direction(const FusionInput& in, const Options& options, const std::string& key) {
  const Field merged = method_registry().at(options.base).direction(in, {});
  return in.matrix_field(key, [merged, beta = options.beta](const Slice& slice) {
    return is_linear_weight(*slice.info) ? boosted(slice[merged], beta) : slice[merged];
  });
}

const RegisterDirection<Options> registered{
    {.name = "subspace_boosting",
     .title = "Subspace Boosting",
     .paper = "Skorobogat et al., 2025, arXiv:2506.16506",
     .formula = R"(tau = direction of the base method
layers  tau = U diag(s) V^T,   k: the first with s_1 + .. + s_k >= beta sum(s),   s_j = max(s_j, s_k)
theta = theta_0 + scale * tau)",
     .family = Family::kSubspace,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained},
     .cost = Cost::kMatrix},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::subspace_boosting
