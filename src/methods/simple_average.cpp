// Simple average: the mean of the experts' weights.
//
//   theta = 1/N sum_i theta_i
//
// Source:  Wortsman et al., "Model soups", ICML 2022, arXiv:2203.05482 (uniform soup).
// Differs: integer tensors are copied from the first expert, not averaged.
// Cost:    one pass over N experts.

#include <ATen/ops/div.h>

#include "fusion/fusion_input.h"

namespace fusegrid {
namespace {

FusedModel fuse(const FusionInput& in, const NoOptions&) {
  const auto count = static_cast<double>(in.num_experts());
  return one_model(in.map_elements([=](const Slice& slice) {
    at::Tensor sum = slice.experts[0].clone();
    for (size_t i = 1; i < slice.experts.size(); ++i) {
      sum.add_(slice.experts[i]);
    }
    return sum.div_(count);
  }));
}

const RegisterMethod<NoOptions> registered{
    {.name = "simple_average",
     .title = "Simple Average",
     .paper = "Wortsman et al., ICML 2022, arXiv:2203.05482",
     .family = Family::kAveraging},
    fuse,
};

}  // namespace
}  // namespace fusegrid
