// Magnitude pruning: each expert without the smallest entries of every row of its linear weights.
//
// Source:  Han et al., "Learning both Weights and Connections for Efficient Neural Networks", NeurIPS 2015,
//          arXiv:1506.02626; per output row as in the baseline of Sun et al., "Wanda", ICLR 2024, arXiv:2306.11695.
// Differs: nothing; of equal entries the first are dropped.
// Cost:    a sort per row. Stored: kept values, one bit per entry for their positions, all other tensors.

#include <ATen/TensorOperators.h>

#include "fusion/passes/pruning.h"

namespace fusegrid::methods::magnitude_pruning {
namespace {

struct Options {
  double ratio = 0.5;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("ratio", ratio, Range{0, 1}, "fraction of each row that is set to zero");
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  return pruned_models(in, options.ratio, [&](const Slice& slice, size_t expert) {
    const at::Tensor& weight = slice.expert(expert);
    return weight * kept_per_row(weight.abs(), options.ratio);
  });
}

const RegisterMethod<Options> registered{
    {.name = "magnitude_pruning",
     .title = "Magnitude pruning",
     .paper = "Han et al., NeurIPS 2015, arXiv:1506.02626",
     .formula =
         R"(linear weights  theta^(i) = m_i theta_i,   m_i = 0 for the `ratio` smallest |theta_i| of each row
others          theta^(i) = theta_i)",
     .family = Family::kReference,
     .grain = Grain::kTensors,
     .yields = Yields::kModelPerTask,
     .needs_task_identity = true,
     .cost = Cost::kMatrix},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::magnitude_pruning
