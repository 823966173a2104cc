// NearSwap: take over the expert's weights where they are near the base's, and step towards them by at most
// t elsewhere.
//
// Source:  alchemonaut's QuartetAnemoi-70B-t0.0001 (model card); rule and constants as in mergekit, default
//          t as in that model.
// Differs: nothing. For t >= 1e-6 the rule is clipping: theta = theta_0 + clip(tau, -t, t).
// Cost:    one pass over one expert.

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>

#include "fusion/fusion_input.h"

namespace fusegrid::methods::nearswap {
namespace {

struct Options {
  double t = 0.0001;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("t", t, Range{0, 1}, "largest step from the base");
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  return one_model(in.map_elements([&](const Slice& slice) {
    const at::Tensor tau = slice.task_vector(0);
    const at::Tensor share = tau.abs().clamp_min_(1e-6).reciprocal_().mul_(options.t).clamp_max_(1);
    return at::add(slice.base(), share.mul_(tau));
  }));
}

const RegisterMethod<Options> registered{
    {.name = "nearswap",
     .title = "NearSwap",
     .paper = "alchemonaut, QuartetAnemoi-70B (2024)",
     .formula = "theta = theta_0 + min(1, t / max(|tau|, 1e-6)) tau",
     .family = Family::kAveraging,
     .needs = {Need::kPretrained},
     .max_experts = 1},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::nearswap
