// Trimmed task arithmetic: task arithmetic with the largest entries of each task vector only. TIES without
// its election, and the baseline of magnitude pruning that DARE is compared with.
//
// Source:  the ablation of Yadav et al., NeurIPS 2023, arXiv:2306.01708; "magnitude pruning" in Yu et al.,
//          ICML 2024, arXiv:2311.03099.
// Differs: scope=model keeps int(d density) + 1 entries and all that equal the last one, as TIES does;
//          scope=tensor exactly max(1, int(n density)) of each tensor.
// Cost:    two passes over N experts and a sample (GPUs: three; tensor: one); a sweep of scales shares the direction.

#include <algorithm>

#include <ATen/TensorOperators.h>

#include "fusion/passes/direction.h"
#include "fusion/passes/selection.h"
#include "fusion/passes/sign_election.h"

namespace fusegrid::methods::trimmed_task_arithmetic {
namespace {

struct Options {
  double density = 0.2;
  std::string scope = "model";
  std::string merge = "sum";
  double scale = 0.3;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("density", density, Range{0.001, 1}, "fraction of the entries of a task vector that are kept");
    v.param("scope", scope, Choices{"model", "tensor"}, "what the fraction is counted over");
    v.param("merge", merge, Choices{"sum", "mean"}, "how the trimmed task vectors are merged");
    v.param("scale", scale, Range{-2, 3}, "multiplier of the merged task vector");
  }
};

at::Tensor merged(const std::vector<at::Tensor>& kept, const Options& options) {
  return options.merge == "mean" ? mean_of(kept) : sum_of(kept);
}

std::vector<at::Tensor> trimmed_by_tensor(const Slice& slice, double density) {
  std::vector<at::Tensor> kept = slice.task_vectors();
  const auto count = static_cast<int64_t>(static_cast<double>(slice.count) * density);
  for (at::Tensor& tau : kept) {
    tau.mul_(largest_mask(tau.abs(), std::max(count, int64_t{1})));
  }
  return kept;
}

Field direction(const FusionInput& in, const Options& options, const std::string& key) {
  if (options.scope == "tensor") {
    return in.tensor_field(key, [options](const Slice& slice) {
      return merged(trimmed_by_tensor(slice, options.density), options);
    });
  }
  const std::vector<double> densities(in.num_experts(), options.density);
  const auto thresholds = trimming_thresholds(in, "task_vectors", densities, &Slice::task_vector_views);
  return in.field(key, [thresholds, options](const Slice& slice) {
    return merged(trimmed(slice.task_vectors(), thresholds), options);
  });
}

const RegisterDirection<Options> registered{
    {.name = "trimmed_task_arithmetic",
     .title = "Trimmed Task Arithmetic",
     .paper = "Yadav et al., NeurIPS 2023, arXiv:2306.01708 (ablation)",
     .formula = R"(k_i = the density largest |tau_i| of the model or of each tensor
theta = theta_0 + scale * sum | mean of k_i tau_i)",
     .family = Family::kTaskVector,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained}},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::trimmed_task_arithmetic
