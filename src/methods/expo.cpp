// ExPO: walk on, beyond the fine-tuned model, in the direction in which fine-tuning went.
//
// Source:  Zheng et al., "Model Extrapolation Expedites Alignment", ACL 2025, arXiv:2404.16792; of several
//          models the average is extrapolated, as in FusionBench.
// Differs: nothing.
// Cost:    one pass over N experts; a sweep of alpha shares the sum of task vectors.

#include "fusion/passes/direction.h"

namespace fusegrid::methods::expo {
namespace {

struct Options {
  double alpha = 0.1;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("alpha", alpha, Range{0, 5},
            "how far beyond the average of the experts, in units of its task vector");
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  return move_along(in, in.task_vector_sum(), (1 + options.alpha) / static_cast<double>(in.num_experts()));
}

const RegisterMethod<Options> registered{
    {.name = "expo",
     .title = "ExPO",
     .paper = "Zheng et al., ACL 2025, arXiv:2404.16792",
     .formula = "theta = m + alpha (m - theta_0),   m = 1/N sum_i theta_i",
     .family = Family::kAveraging,
     .needs = {Need::kPretrained}},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::expo
