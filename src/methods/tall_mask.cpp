// TALL masks: one multi-task vector for all, and for each task one bit per entry that says whether the task
// needs it.
//
// Source:  Wang et al., "Localizing Task Information for Improved Model Merging and Compression", ICML
//          2024, arXiv:2405.07813, and its code (">" where the paper prints ">=": they differ where both
//          sides are equal).
// Differs: one lambda for all tasks; the authors choose one per task from {0.2, ..., 0.6} on validation
//          data. compare=fusion_bench reproduces an error of FusionBench 0.2.33, which compares with
//          |theta_0 - tau_i| instead of |tau_i|: nearly every mask is then full and every task gets theta_0
//          + tau.
// Cost:    one pass over N experts (ties: two and a sample; GPUs: four). Stored: base, tau, one bit per entry and task.

#include <ATen/TensorOperators.h>

#include "fusion/passes/direction.h"
#include "fusion/passes/tall_masks.h"

namespace fusegrid::methods::tall_mask {
namespace {

struct Options {
  TallMaskRule rule;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("lambda", rule.lambda, Range{0, 10},
            "how much larger than the others' part a task's own must be");
    v.param("vector", rule.vector, Choices{"sum", "ties"}, "the multi-task vector");
    v.param("compare", rule.compare, Choices{"task_vectors", "fusion_bench"},
            "what the masks compare: the paper's rule, or FusionBench's with its known error");
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  const TallMasks tall(in, options.rule);
  std::vector<Weights> models = in.map_elements(in.num_experts(), [&](const Slice& slice) {
    const at::Tensor multitask = tall.multitask_vector(slice);
    std::vector<at::Tensor> values;
    for (const at::Tensor& mask : tall.masks(slice, multitask)) {
      values.push_back(slice.base() + multitask * mask);
    }
    return values;
  });
  const auto elements = static_cast<double>(in.num_elements());
  const auto tasks = static_cast<double>(in.num_experts());
  return models_of_tasks(in, std::move(models), 2 * elements + tasks * elements / 32);
}

const RegisterMethod<Options> registered{
    {.name = "tall_mask",
     .title = "TALL Masks",
     .paper = "Wang et al., ICML 2024, arXiv:2405.07813",
     .formula = R"(tau = sum_i tau_i   (vector=ties: the TIES vector)
m_i = [|tau_i| > lambda |tau - tau_i|]
theta^(i) = theta_0 + m_i tau)",
     .family = Family::kTaskVector,
     .needs = {Need::kPretrained},
     .yields = Yields::kModelPerTask,
     .needs_task_identity = true},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::tall_mask
