// SWUDI: WUDI's merged matrix in closed form, of whose directions those that few task vectors have stay nearer to the
// sum of all, as an early end of WUDI's iterations leaves them.
//
// Source:  Wei et al., "Closed-Form Spectral Regularization for Multi-Task Model Merging", 2026, arXiv:2606.07289, and
//          the authors' code; the defaults are those of CLIP-ViT-B/32.
// Differs: float64. An expert that did not change a matrix takes no part in it. The authors' code averages heads
//          (lm_head), which are matrices and are merged as such here.
// Cost:    one eigendecomposition per matrix; a sweep of scales shares it.

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/exp.h>

#include "fusion/passes/direction.h"
#include "fusion/subspaces/interference.h"
#include "fusion/subspaces/svd.h"

namespace fusegrid::methods::swudi {
namespace {

struct Options {
  double scale = 1.0;
  double time = 1300;
  double rank = 0.65;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("scale", scale, Range{-2, 3}, "multiplier of the merged task vector");
    v.param("time", time, Range{0, 1e9}, "how long WUDI's descent goes on");
    v.param("rank", rank, Range{0.001, 1}, "fraction of the input directions in which it moves at all");
  }
};

at::Tensor merged(const Slice& slice, const Options& options) {
  if (!is_matrix(*slice.info)) {
    return mean_of(slice.task_vector_views());
  }
  const Interference parts = interference(slice, /*normalised=*/true);
  const int64_t all = parts.values.numel();
  const auto kept = std::max<int64_t>(1, std::llround(std::ceil(static_cast<double>(all) * options.rank)));
  at::Tensor filter = 1 - at::exp(parts.values.clamp_min(kLeastEigenvalue) * -options.time);
  filter.narrow(0, kept, all - kept).zero_();
  return filtered_solution(parts, parts.sum, filter, kLeastEigenvalue).to(at::kFloat);
}

Field direction(const FusionInput& in, const Options& options, const std::string& key) {
  return in.matrix_field(key, [options](const Slice& slice) { return merged(slice, options); });
}

const RegisterDirection<Options> registered{
    {.name = "swudi",
     .title = "SWUDI",
     .paper = "Wei et al., 2026, arXiv:2606.07289",
     .formula =
         R"(matrices  C = sum_i tau_i^T tau_i / |tau_i|^2 = V diag(l) V^T,   D = sum_i tau_i tau_i^T tau_i / |tau_i|^2
          f_k = 1 - exp(-time l_k) of the `rank` leading l_k, else 0
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
}  // namespace fusegrid::methods::swudi
