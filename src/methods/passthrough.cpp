// Passthrough: one model as it is. With a stack of layers for its expert (checkpoint/layer_stack.h) it writes a deeper
// or shallower model: depth up-scaling, frankenmerging. With a mixture of experts (checkpoint/mixture.h) it writes a
// Mixtral: MoE up-scaling, MoE merging.
//
// Source:  mergekit's `passthrough`; depth up-scaling: Kim et al., "SOLAR 10.7B", NAACL 2024, arXiv:2312.15166;
// mixtures:
//          Komatsuzaki et al., "Sparse Upcycling", ICLR 2023, arXiv:2212.05055, as FusionBench and mergekit-moe make
//          them.
// Differs: nothing.
// Cost:    one pass over the expert.

#include <ATen/TensorOperators.h>

#include "fusion/fusion_input.h"

namespace fusegrid::methods::passthrough {
namespace {

struct Options {
  double scale = 1;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("scale", scale, Range{-100, 100}, "factor of all entries");
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  return one_model(in.map_elements([scale = options.scale](const Slice& slice) {
    return scale == 1 ? slice.expert(0) : slice.expert(0) * scale;
  }));
}

const RegisterMethod<Options> registered{
    {.name = "passthrough",
     .title = "Passthrough (stacks, mixtures)",
     .paper = "mergekit; depth up-scaling: Kim et al., NAACL 2024, arXiv:2312.15166; MoE up-scaling: "
              "Komatsuzaki et "
              "al., ICLR 2023, arXiv:2212.05055",
     .formula =
         "theta = scale * theta_1,   also of layers A[0:24]+A[8:32] or a mixture of experts moe(BASE; A, B): "
         "docs/merge.md",
     .family = Family::kAveraging,
     .max_experts = 1},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::passthrough
