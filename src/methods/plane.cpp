// A point of the plane through three models: where maps of the loss around them are drawn.
//
// Source:  Garipov et al., "Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs", NeurIPS 2018,
//          arXiv:1802.10026, figure 1; Izmailov et al., UAI 2018, arXiv:1803.05407, figure 1.
// Differs: the axes are the two differences as they are, so that corners are at (0, 0), (1, 0) and (0, 1).
// Cost:    one pass over three experts.

#include "fusion/fusion_input.h"

namespace fusegrid::methods::plane {
namespace {

struct Options {
  double u = 1.0 / 3;
  double v = 1.0 / 3;

  template <typename Visitor>
  void describe(Visitor& visitor) {
    visitor.param("u", u, Range{-5, 5}, "how far towards the second expert");
    visitor.param("v", v, Range{-5, 5}, "how far towards the third");
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  return one_model(in.map_elements([&](const Slice& slice) {
    return weighted_sum_of(slice.expert_views(), {1 - options.u - options.v, options.u, options.v});
  }));
}

const RegisterMethod<Options> registered{
    {.name = "plane",
     .title = "Plane",
     .paper = "Garipov et al., NeurIPS 2018, arXiv:1802.10026",
     .formula = "theta = theta_1 + u (theta_2 - theta_1) + v (theta_3 - theta_1)",
     .family = Family::kAveraging,
     .order_invariant = false,
     .min_experts = 3,
     .max_experts = 3},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::plane
