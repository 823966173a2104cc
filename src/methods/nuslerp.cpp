// NuSLERP: walk along the arc between two task vectors (or two models), as a whole tensor, per row or per
// column.
//
// Source:  mergekit's method of that name; SLERP is Shoemake's, SIGGRAPH 1985.
// Differs: t is given itself, not as two weights (t = w_2 / (w_1 + w_2)); arithmetic in float64. mergekit's
//          nuslerp_row_wise takes the first dimension, which of an [out, in] matrix are its columns:
//          `columns` here.
// Cost:    one pass over two experts, whole tensors.

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>
#include <ATen/ops/where.h>

#include "fusion/fusion_input.h"

namespace fusegrid::methods::nuslerp {
namespace {

// Squared sine below which vectors count as parallel or opposite: mergekit's 1e-16 is less than the rounding of a
// cosine in float64, which would decide how opposite vectors are joined.
constexpr double kStraight = 1e-14;

struct Options {
  double t = 0.5;
  std::string arc = "task_vectors";
  std::string unit = "tensor";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("t", t, Range{0, 1}, "position on the arc: 0 is the first expert, 1 the second");
    v.param("arc", arc, Choices{"task_vectors", "weights"}, "what turns: around the base, or around zero");
    v.param("unit", unit, Choices{"tensor", "rows", "columns"},
            "what has an angle of its own: rows run along the last dimension, columns along the first");
  }
};

// Along the last dimension. Vectors shorter than 1e-7 count as orthogonal to everything, as in mergekit.
at::Tensor walk(const at::Tensor& a, const at::Tensor& b, double t) {
  const at::Tensor unit_a = a / a.norm(2, {-1}, true).clamp_min(1e-7);
  const at::Tensor unit_b = b / b.norm(2, {-1}, true).clamp_min(1e-7);
  const at::Tensor cosine = (unit_a * unit_b).sum({-1}, true).clamp(-1, 1);
  const at::Tensor straight = 1 - cosine.square() <= kStraight;
  const at::Tensor angle = cosine.acos();
  const at::Tensor sine = angle.sin().masked_fill(straight, 1.0);
  const at::Tensor weight_a = ((1 - t) * angle).sin().div(sine).masked_fill(straight, 1 - t);
  const at::Tensor weight_b = (t * angle).sin().div(sine).masked_fill(straight, t);
  return weight_a * a + weight_b * b;
}

at::Tensor walk_by_unit(const at::Tensor& a, const at::Tensor& b, const Options& options) {
  if (options.unit == "tensor" || a.dim() < 2) {
    return walk(a.reshape({-1}), b.reshape({-1}), options.t).view(a.sizes());
  }
  if (options.unit == "rows") {
    return walk(a, b, options.t);
  }
  return walk(a.transpose(0, -1), b.transpose(0, -1), options.t).transpose(0, -1);
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  return one_model(in.map_tensors([&](const Slice& slice) {
    if (options.arc == "weights") {
      return walk_by_unit(slice.expert(0).to(at::kDouble), slice.expert(1).to(at::kDouble), options);
    }
    const at::Tensor a = slice.task_vector(0).to(at::kDouble);
    const at::Tensor b = slice.task_vector(1).to(at::kDouble);
    return at::add(walk_by_unit(a, b, options), slice.base());
  }));
}

const RegisterMethod<Options> registered{
    {.name = "nuslerp",
     .title = "NuSLERP",
     .paper = "mergekit (Goddard et al., EMNLP 2024, arXiv:2403.13257)",
     .formula = R"(w = angle between tau_1 and tau_2 (per tensor, row or column)
theta = theta_0 + sin((1-t) w) / sin w * tau_1 + sin(t w) / sin w * tau_2
arc=weights: the same of theta_1, theta_2 around zero)",
     .family = Family::kAveraging,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained},
     .order_invariant = false,
     .min_experts = 2,
     .max_experts = 2},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::nuslerp
