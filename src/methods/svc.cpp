// SVC: merge by another method, then turn down the singular directions of the merged matrices in which the experts'
// shared knowledge was added up several times.
//
// Source:  "When Shared Knowledge Hurts: Spectral Over-Accumulation in Model Merging", 2026, arXiv:2602.05536.
// Differs: the method before it runs with its own defaults for everything but `scale`; singular values that are
//          rounding (see svd.h) are dropped. An expert whose response in a direction is rounding counts as alpha
//          there (FusionBench divides by at least 1e-12, which makes such a ratio huge). Not offered after Iso-C and
//          Iso-CTS: their singular values are all equal, so that the directions to calibrate are arbitrary.
// Cost:    that of the method before it, and one SVD per matrix; nothing of it is shared by a sweep of scales.

#include <algorithm>
#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include "fusion/subspaces/svd.h"

namespace fusegrid::methods::svc {
namespace {

struct Options {
  std::string base = "task_arithmetic";
  double scale = 0.3;
  double alpha = 1;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("base", base, Choices{"task_arithmetic", "tsv_m", "knots", "wudi"},
            "the method whose merged task vector is calibrated");
    v.param("scale", scale, Range{-2, 3}, "factor of that task vector before it is calibrated");
    v.param("alpha", alpha, Range{0.001, 100}, "smallest amplification that is divided out");
  }
};

// Factor of each singular direction: N / sum_i max(alpha, <u^T merged, u^T tau_i> / |u^T tau_i|^2).
at::Tensor calibration(const Svd& svd, const Slice& slice, double alpha) {
  const auto side = static_cast<double>(std::max(slice.base().size(0), slice.base().size(1)));
  const double rounding = side * static_cast<double>(std::numeric_limits<float>::epsilon());
  const at::Tensor response = svd.v.t() * svd.s.unsqueeze(1);  // u_r^T merged, one per row
  at::Tensor total = at::zeros_like(svd.s);
  for (size_t i = 0; i < slice.num_experts(); ++i) {
    const at::Tensor tau = slice.task_vector(i).to(at::kDouble);
    const at::Tensor own = at::matmul(svd.u.t(), tau);
    const at::Tensor norm = own.square().sum(1);
    const at::Tensor answers = norm > tau.square().sum() * (rounding * rounding);
    const at::Tensor ratio = at::where(answers, (response * own).sum(1) / norm, alpha);
    total.add_(ratio.clamp_min(alpha));
  }
  return static_cast<double>(slice.num_experts()) / total;
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  const Field direction = method_registry().at(options.base).direction(in, {});
  return one_model(in.map_matrices([&](const Slice& slice) {
    const at::Tensor merged = slice[direction] * options.scale;
    if (!is_matrix(*slice.info)) {
      return slice.base() + merged;
    }
    Svd svd = significant_svd(merged);
    svd.s = svd.s * calibration(svd, slice, options.alpha);
    return slice.base() + svd.product().to(at::kFloat);
  }));
}

const RegisterMethod<Options> registered{
    {.name = "svc",
     .title = "SVC",
     .paper = "\"When Shared Knowledge Hurts\", 2026, arXiv:2602.05536",
     .formula = R"(merged  = scale * direction of the base method = U S V^T per matrix
s_r^i   = <u_r^T merged, u_r^T tau_i> / |u_r^T tau_i|^2
gamma_r = N / sum_i max(alpha, s_r^i)
matrices  theta = theta_0 + U diag(gamma) S V^T,   others  theta = theta_0 + merged)",
     .family = Family::kSubspace,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained},
     .cost = Cost::kMatrix},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::svc
