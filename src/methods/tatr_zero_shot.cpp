// Zero-shot TATR: TATR's trust region without data, where an expert's task vector stands for the gradients of its task.
//
// Source:  Sun et al., "Task Arithmetic in Trust Region: A Training-Free Model Merging Approach to Navigate Knowledge
//          Conflicts", 2025, arXiv:2501.15065, "zero-shot"; FusionBench's settings.
// Differs: as tatr, the region is cut out of the merged task vector.
// Cost:    two passes over N experts.

#include <ATen/TensorOperators.h>

#include "fusion/passes/trust_region.h"

namespace fusegrid::methods::tatr_zero_shot {
namespace {

struct Options {
  std::string base = "task_arithmetic";
  double scale = 0.3;
  double keep = 0.99;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("base", base, Choices{"task_arithmetic", "ties"},
            "the method whose merged task vector is cut to the region");
    v.param("scale", scale, Range{-2, 3}, "multiplier of what the region leaves of it");
    v.param("keep", keep, Range{0, 1}, "fraction of the model's entries in the region");
  }
};

std::vector<at::Tensor> magnitudes(const Slice& slice) {
  std::vector<at::Tensor> parts;
  for (const at::Tensor& tau : slice.task_vectors()) {
    parts.push_back(tau.abs());
  }
  return parts;
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  return move_within(in, TrustRegion(in, magnitudes, options.keep), options.base, options.scale);
}

const RegisterMethod<Options> registered{
    {.name = "tatr_zero_shot",
     .title = "Zero-shot TATR",
     .paper = "Sun et al., 2025, arXiv:2501.15065",
     .formula = R"(omega = sum_(i != j) |tau_i| |tau_j|   per entry
mask  = [omega among the `keep` smallest of the model]
theta = theta_0 + scale * mask * direction of the base method   (task_arithmetic: sum_i mask tau_i))",
     .family = Family::kTaskVector,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained}},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::tatr_zero_shot
