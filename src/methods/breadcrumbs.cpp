// Model breadcrumbs: drop the smallest entries of each task vector and the very largest ones, tensor by
// tensor.
//
// Source:  Davari & Belilovsky, "Model Breadcrumbs: Scaling Multi-Task Model Merging with Sparse Masks",
//          ECCV 2024, arXiv:2312.06795; counts and election (elect=true: "breadcrumbs_ties") as in
//          mergekit, whose example values are the defaults.
// Differs: entries that equal a threshold are kept or dropped by position (mergekit leaves it to an
//          unstable sort).
// Cost:    one pass over N experts, whole tensors, no sorting; a sweep of scales shares the direction.

#include <algorithm>

#include <ATen/TensorOperators.h>

#include "core/model_weights.h"
#include "fusion/passes/direction.h"
#include "fusion/passes/random_drop.h"
#include "fusion/passes/selection.h"
#include "fusion/passes/sign_election.h"

namespace fusegrid::methods::breadcrumbs {
namespace {

struct Options {
  std::vector<double> density{0.9};
  std::vector<double> gamma{0.01};
  bool elect = false;
  std::string merge = "sum";
  std::string rescale = "none";
  std::vector<double> weights;
  double scale = 0.3;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("density", density, Range{0.001, 1},
            "fraction of the entries of a tensor that are kept; one, or one per expert");
    v.param("gamma", gamma, Range{0, 0.5},
            "fraction of the entries, the largest ones, that are dropped; one, or one per expert");
    v.param("elect", elect, "elect a sign per entry as TIES does (breadcrumbs_ties)");
    v.param("merge", merge, Choices{"sum", "mean"}, "mean: divided by the weights that take part");
    v.param("rescale", rescale, Choices{"none", "l1"}, "l1: what is kept gets the L1 norm of the whole");
    v.param("weights", weights, Range{-100, 100}, "weight of each task vector; empty: all 1");
    v.param("scale", scale, Range{-2, 3}, "multiplier of the merged task vector");
  }
  void check(int64_t experts) const {
    model_weights("breadcrumbs", weights, false, experts);
    number_of_each_model("breadcrumbs", "density", density, experts);
    number_of_each_model("breadcrumbs", "gamma", gamma, experts);
  }
};

at::Tensor breadcrumbs(const at::Tensor& tau, double density, double gamma, const std::string& rescale) {
  if (density >= 1) {
    return tau;
  }
  const auto size = static_cast<double>(tau.numel());
  const auto kept = static_cast<int64_t>(density * size);
  // fewer of the largest are dropped where the rest would not be enough
  const int64_t largest = std::min(static_cast<int64_t>(gamma * size), tau.numel() - kept);
  const at::Tensor magnitudes = tau.abs();
  const at::Tensor mask =
      largest_mask(magnitudes, largest + kept).logical_and(largest_mask(magnitudes, largest).logical_not());
  const at::Tensor sparse = tau * mask;
  return rescale == "none" ? sparse : with_l1_norm_of(tau, sparse);
}

Field direction(const FusionInput& in, const Options& options, const std::string& key) {
  const auto experts = static_cast<int64_t>(in.num_experts());
  const auto weights = model_weights("breadcrumbs", options.weights, false, experts);
  const auto density = number_of_each_model("breadcrumbs", "density", options.density, experts);
  const auto gamma = number_of_each_model("breadcrumbs", "gamma", options.gamma, experts);
  return in.tensor_field(key, [=](const Slice& slice) {
    std::vector<at::Tensor> kept;
    for (size_t i = 0; i < weights.size(); ++i) {
      kept.push_back(breadcrumbs(slice.task_vector(i), density[i], gamma[i], options.rescale));
    }
    return merge_weighted(kept, weights, options.elect, options.merge);
  });
}

const RegisterDirection<Options> registered{
    {.name = "breadcrumbs",
     .title = "Model Breadcrumbs",
     .paper = "Davari & Belilovsky, ECCV 2024, arXiv:2312.06795",
     .formula = R"(m_i = the density largest |tau_i| of each tensor after its gamma largest ones
theta = theta_0 + scale * sum | mean of w_i m_i tau_i
elect   only entries of the sign of sum_i w_i m_i tau_i)",
     .family = Family::kTaskVector,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained}},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::breadcrumbs
