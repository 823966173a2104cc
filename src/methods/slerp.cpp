// SLERP: walk along the arc between two models, tensor by tensor.
//
// Source:  Shoemake, SIGGRAPH 1985; the rule for tensors as in FusionBench and mergekit.
// Differs: nothing (norms + 1e-8, as there).
// Cost:    one pass over two experts, whole tensors.

#include "fusion/fusion_input.h"
#include "fusion/passes/interpolation.h"

namespace fusegrid::methods::slerp {
namespace {

struct Options {
  double t = 0.5;
  double threshold = 0.9995;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("t", t, Range{0, 1}, "position on the arc: 0 is the first expert, 1 the second");
    v.param("threshold", threshold, Range{0, 1},
            "|cosine| above which the tensors are interpolated linearly");
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  return one_model(in.map_tensors([&](const Slice& slice) {
    return fusegrid::slerp(slice.expert(0), slice.expert(1), options.t, options.threshold);
  }));
}

const RegisterMethod<Options> registered{
    {.name = "slerp",
     .title = "SLERP",
     .paper = "Shoemake, SIGGRAPH 1985",
     .formula = R"(c = <a, b> / (|a| |b|),   w = arccos c
theta = sin((1-t) w) / sin w * a + sin(t w) / sin w * b
|c| > threshold (almost collinear):  theta = (1 - t) a + t b)",
     .family = Family::kAveraging,
     .grain = Grain::kTensors,
     .order_invariant = false,
     .min_experts = 2,
     .max_experts = 2},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::slerp
