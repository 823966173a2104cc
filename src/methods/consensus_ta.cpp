// Consensus merging: keep of the summed task vectors what at least min_tasks tasks need (by their TALL
// masks); what one task alone uses, and what none uses, goes back to the base.
//
// Source:  Wang et al., "Localizing Task Information for Improved Model Merging and Compression", ICML
//          2024, arXiv:2405.07813, and its code. vector=ties is the paper's Consensus TIES (density 0.2,
//          summed).
// Differs: one lambda for all tasks; the authors choose one per task from {0.2, ..., 0.6} on validation
//          data. compare=fusion_bench reproduces an error of FusionBench 0.2.33's TALL masks, which compare
//          with |theta_0 - tau_i| instead of |tau_i|: nearly every mask is then full.
// Cost:    one pass over N experts (ties: two and a sample; GPUs: four); a sweep of scales shares the direction.

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>

#include "fusion/passes/direction.h"
#include "fusion/passes/tall_masks.h"

namespace fusegrid::methods::consensus_ta {
namespace {

struct Options {
  TallMaskRule rule;
  int64_t min_tasks = 2;
  double scale = 0.3;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("lambda", rule.lambda, Range{0, 10},
            "how much larger than the others' part a task's own must be");
    v.param("min_tasks", min_tasks, Range{0, 1 << 20},
            "tasks that must need an entry; 0: task arithmetic or TIES");
    v.param("vector", rule.vector, Choices{"sum", "ties"},
            "what is filtered: Consensus TA or Consensus TIES");
    v.param("compare", rule.compare, Choices{"task_vectors", "fusion_bench"},
            "what the masks compare: the paper's rule, or FusionBench's with its known error");
    v.param("scale", scale, Range{-2, 2}, "multiplier of the filtered vector");
  }
};

Field direction(const FusionInput& in, const Options& options, const std::string& key) {
  const TallMasks tall(in, options.rule);
  return in.field(key, [tall, min_tasks = options.min_tasks](const Slice& slice) {
    const at::Tensor multitask = tall.multitask_vector(slice);
    at::Tensor needed_by = at::zeros_like(multitask);
    for (const at::Tensor& mask : tall.masks(slice, multitask)) {
      needed_by.add_(mask);
    }
    return multitask * (needed_by >= min_tasks);
  });
}

const RegisterDirection<Options> registered{
    {.name = "consensus_ta",
     .title = "Consensus Task Arithmetic",
     .paper = "Wang et al., ICML 2024, arXiv:2405.07813",
     .formula = R"(tau = sum_i tau_i   (vector=ties: the TIES vector)
m_i = [|tau_i| > lambda |tau - tau_i|]
theta = theta_0 + scale * tau [sum_i m_i >= min_tasks])",
     .family = Family::kTaskVector,
     .needs = {Need::kPretrained}},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::consensus_ta
