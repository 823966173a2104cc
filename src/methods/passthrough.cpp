// Passthrough: one model as it is. With a stack of layers for its expert (checkpoint/layer_stack.h) it writes a deeper or
// shallower model: depth up-scaling, frankenmerging.
//
// Source:  mergekit's `passthrough`; depth up-scaling: Kim et al., "SOLAR 10.7B", NAACL 2024, arXiv:2312.15166.
// Differs: no factor for single tensors.
// Cost:    one pass over the expert.

#include "fusion/fusion_input.h"

namespace fusegrid {
namespace {

FusedModel fuse(const FusionInput& in, const NoOptions&) {
  return one_model(in.map_elements([](const Slice& slice) { return slice.expert(0); }));
}

const RegisterMethod<NoOptions> registered{
    {.name = "passthrough",
     .title = "Passthrough",
     .paper = "mergekit; depth up-scaling: Kim et al., NAACL 2024, arXiv:2312.15166",
     .formula = "theta = theta_1",
     .family = Family::kAveraging,
     .max_experts = 1},
    fuse,
};

}  // namespace
}  // namespace fusegrid
