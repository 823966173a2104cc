// Random pruning: each expert without a random part of every row of its linear weights; the floor that other pruning
// rules must beat.
//
// Source:  the baseline of pruning papers, as FusionBench has it: the same number of entries in each row.
// Differs: an entry's random number depends on (seed, task, position) alone.
// Cost:    a sort per row. Stored: as magnitude_pruning.

#include <ATen/TensorOperators.h>

#include "core/philox.h"
#include "fusion/loops/random_numbers.h"
#include "fusion/passes/pruning.h"

namespace fusegrid::methods::random_pruning {
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
    const uint64_t key = derive_key(in.seed(), "random_pruning/" + in.expert_names()[expert]);
    const at::Tensor random = uniform_on(weight.device(), key, 0, slice.global_begin, slice.count);
    return weight * kept_per_row(random.view_as(weight), options.ratio);
  });
}

const RegisterMethod<Options> registered{
    {.name = "random_pruning",
     .title = "Random pruning",
     .paper = "baseline of pruning papers, e.g. Sun et al., ICLR 2024, arXiv:2306.11695",
     .formula = R"(linear weights  theta^(i) = m_i theta_i,   m_i = 0 for a random `ratio` of each row
others          theta^(i) = theta_i)",
     .family = Family::kReference,
     .grain = Grain::kTensors,
     .yields = Yields::kModelPerTask,
     .needs_task_identity = true,
     .random = true,
     .cost = Cost::kMatrix},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::random_pruning
