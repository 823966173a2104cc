// Linear interpolation: the straight line between two models.
//
// Source:  folklore; as a merging method in FusionBench. Its barrier is what mode connectivity studies:
//          Frankle et al., "Linear Mode Connectivity and the Lottery Ticket Hypothesis", ICML 2020,
//          arXiv:1912.05671.
// Differs: FusionBench 0.2.33's own class compares a list with a number and always fails; the rule is what
//          it would compute.
// Cost:    one pass over two experts.

#include "fusion/fusion_input.h"

namespace fusegrid::methods::linear_interpolation {
namespace {

struct Options {
  double t = 0.5;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("t", t, Range{0, 1}, "position on the line: 0 is the first expert, 1 the second");
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  return one_model(in.map_elements([&](const Slice& slice) {
    return weighted_sum_of(slice.expert_views(), {1 - options.t, options.t});
  }));
}

const RegisterMethod<Options> registered{
    {.name = "linear_interpolation",
     .title = "Linear Interpolation",
     .paper = "Frankle et al., ICML 2020, arXiv:1912.05671",
     .formula = "theta = (1 - t) theta_1 + t theta_2",
     .family = Family::kAveraging,
     .order_invariant = false,
     .min_experts = 2,
     .max_experts = 2},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::linear_interpolation
