// Simple average: the mean of the experts' weights.
//
// Source:  Wortsman et al., "Model soups", ICML 2022, arXiv:2203.05482 (uniform soup).
// Differs: integer tensors are copied from the first expert, not averaged.
// Cost:    one pass over N experts.

#include "fusion/fusion_input.h"

namespace fusegrid::methods::simple_average {
namespace {

FusedModel fuse(const FusionInput& in, const NoOptions&) {
  return one_model(in.map_elements([](const Slice& slice) { return mean_of(slice.expert_views()); }));
}

const RegisterMethod<NoOptions> registered{
    {.name = "simple_average",
     .title = "Simple Average",
     .paper = "Wortsman et al., ICML 2022, arXiv:2203.05482",
     .formula = "theta = 1/N sum_i theta_i",
     .family = Family::kAveraging},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::simple_average
