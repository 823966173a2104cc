// TATR: merge within a trust region only, the entries of the model whose change by one task the losses of the others
// mind least at the base.
//
// Source:  Sun et al., "Task Arithmetic in Trust Region: A Training-Free Model Merging Approach to Navigate Knowledge
//          Conflicts", 2025, arXiv:2501.15065; FusionBench's settings. (FusionBench 0.2.33 keeps the gradients of one
//          tensor alone, so that its region is empty: that is not reproduced.)
// Differs: the region is cut out of the merged task vector. That of task arithmetic is the same as merging what the
//          region leaves of each task vector; TIES trims and elects before it is cut. The loss is that of training, so
//          that numbers and texts have one too.
// Cost:    128 examples of each task forward and backward, one by one, shared between cells; a pass of counting.

#include "fusion/passes/trust_region.h"

namespace fusegrid::methods::tatr {
namespace {

struct Options {
  std::string base = "task_arithmetic";
  double scale = 0.3;
  double keep = 0.99;
  int64_t examples = 128;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("base", base, Choices{"task_arithmetic", "ties"},
            "the method whose merged task vector is cut to the region");
    v.param("scale", scale, Range{-2, 3}, "multiplier of what the region leaves of it");
    v.param("keep", keep, Range{0, 1}, "fraction of the model's entries in the region");
    v.param("examples", examples, Range{1, 1e6}, "labelled training examples per expert");
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  std::vector<std::shared_ptr<const Weights>> gradients;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    gradients.push_back(in.loss_gradients(i, options.examples, 1, /*at_base=*/true));
  }
  const auto of_slice = [&](const Slice& slice) {
    std::vector<at::Tensor> parts;
    for (const auto& gradient : gradients) {
      parts.push_back(slice.of(*gradient));
    }
    return parts;
  };
  return move_within(in, TrustRegion(in, of_slice, options.keep), options.base, options.scale);
}

const RegisterMethod<Options> registered{
    {.name = "tatr",
     .title = "TATR",
     .paper = "Sun et al., 2025, arXiv:2501.15065",
     .formula = R"(omega = sum_(i != j) mean_x |d loss_i(x) / d theta_0| |tau_j|   per entry
mask  = [omega among the `keep` smallest of the model]
theta = theta_0 + scale * mask * direction of the base method   (task_arithmetic: sum_i mask tau_i))",
     .family = Family::kStatistics,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained, Need::kTrainInputs, Need::kTrainLabels, Need::kGradients},
     .cost = Cost::kForwardPasses},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::tatr
