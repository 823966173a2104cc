// WiSE-FT: interpolate between the base and the fine-tuned model; robust under shifts for alpha around 1/2.
//
// Source:  Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, arXiv:2109.01903.
// Differs: of several experts the average takes the place of the fine-tuned model (a uniform soup, as its
//          authors combine the two).
// Cost:    one pass over N experts; a sweep of alpha shares the sum of task vectors.

#include "fusion/passes/direction.h"

namespace fusegrid::methods::wise_ft {
namespace {

struct Options {
  double alpha = 0.5;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("alpha", alpha, Range{0, 1}, "0 is the base, 1 the average of the experts");
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  return move_along(in, in.task_vector_sum(), options.alpha / static_cast<double>(in.num_experts()));
}

const RegisterMethod<Options> registered{
    {.name = "wise_ft",
     .title = "WiSE-FT",
     .paper = "Wortsman et al., CVPR 2022, arXiv:2109.01903",
     .formula = "theta = (1 - alpha) theta_0 + alpha 1/N sum_i theta_i",
     .family = Family::kAveraging,
     .needs = {Need::kPretrained}},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::wise_ft
