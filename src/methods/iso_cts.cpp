// Iso-CTS: the leading directions of the summed task vectors, the rest replaced by directions of single tasks, all
// made orthogonal and equally strong.
//
// Source:  Marczak et al., "No Task Left Behind: Isotropic Model Merging with Common and Task-Specific Subspaces",
//          ICML 2025, arXiv:2502.04959; tensors that are no matrices are averaged, as in the authors' code.
// Differs: only significant triplets take part (see svd.h); their mean level still counts all r directions. The
// authors' code averages CLIP's `text_projection`, which is a matrix and is merged as one here: that shows on a full
// CLIP only.
// Cost:    N + 1 SVDs per matrix and two small ones; a sweep of scales shares them.

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>

#include "core/concatenate.h"
#include "fusion/passes/direction.h"
#include "fusion/subspaces/svd.h"

namespace fusegrid::methods::iso_cts {
namespace {

struct Options {
  double scale = 1.0;
  double common = 0.8;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("scale", scale, Range{-2, 10}, "multiplier of the merged task vector");
    v.param("common", common, Range{0, 1}, "fraction of the directions that are common to all tasks");
  }
};

// Directions of each task, so many that those of all tasks fill what the common ones leave.
int64_t directions_per_task(int64_t all, int64_t experts, double common) {
  const auto left = static_cast<double>(all - static_cast<int64_t>(static_cast<double>(all) * common));
  const auto per_task = static_cast<int64_t>(std::nearbyint(left / static_cast<double>(experts)));
  return std::min(per_task, all / experts);
}

at::Tensor merged(const Slice& slice, double common) {
  const std::vector<at::Tensor> taus = slice.task_vectors();
  if (!is_matrix(*slice.info)) {
    return mean_of(taus);
  }
  const auto experts = static_cast<int64_t>(taus.size());
  const int64_t all = std::min(slice.base().size(0), slice.base().size(1));
  const int64_t own = directions_per_task(all, experts, common);
  const Svd shared = significant_svd(sum_of(taus), all - own * experts);
  std::vector<at::Tensor> u;
  std::vector<at::Tensor> s;
  std::vector<at::Tensor> v;
  for (const at::Tensor& tau : taus) {
    const at::Tensor exact = tau.to(at::kDouble);
    const at::Tensor rest = exact - at::matmul(shared.u, at::matmul(shared.u.t(), exact));
    const Svd svd = significant_svd(rest, own);
    u.push_back(svd.u);
    s.push_back(svd.s);
    v.push_back(svd.v);
  }
  u.push_back(shared.u);
  s.push_back(shared.s);
  v.push_back(shared.v);
  const at::Tensor level = concatenate(s).sum() / static_cast<double>(all);
  const at::Tensor left = polar_factor(concatenate(u, 1));
  const at::Tensor right = polar_factor(concatenate(v, 1));
  return (at::matmul(left, right.t()) * level).to(at::kFloat);
}

Field direction(const FusionInput& in, const Options& options, const std::string& key) {
  return in.matrix_field(key,
                         [common = options.common](const Slice& slice) { return merged(slice, common); });
}

const RegisterDirection<Options> registered{
    {.name = "iso_cts",
     .title = "Iso-CTS",
     .paper = "Marczak et al., ICML 2025, arXiv:2502.04959",
     .formula =
         R"(matrices  U_c, S_c, V_c: the k leading triplets of sum_i tau_i,   k near common * r,  r = min(rows, columns)
          U_i, S_i, V_i: the (r - k) / N leading triplets of tau_i - U_c U_c^T tau_i
          U = [U_1 .. U_N U_c],  V = [V_1 .. V_N V_c],   tau = mean(S) polar(U) polar(V)^T
others    tau = mean_i tau_i
theta = theta_0 + scale * tau)",
     .family = Family::kSubspace,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained},
     .cost = Cost::kMatrix},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::iso_cts
