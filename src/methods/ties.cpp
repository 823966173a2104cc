// TIES: trim each task vector to its largest entries, elect a sign per entry, merge the entries that agree
// with it.
//
// Source:  Yadav et al., "TIES-Merging", NeurIPS 2023, arXiv:2306.01708. Two dialects of it are in use:
//   fusion_bench  the authors' reference code and FusionBench: one threshold over the whole model, |tau| >= the
//                 k-th smallest with k = d - int(d density) (so int(d density) + 1 entries and all ties stay),
//                 gamma = 0 becomes the majority sign of all entries.
//   mergekit      per tensor; exactly max(1, int(n density)) entries, gamma = sign of the weighted sum, 0 counts
//                 as +; merge = sum, or mean = divided by the weights of those that agree.
// Differs: fusion_bench: density = 1 keeps everything (the original fails); mergekit: arithmetic in float32, ties
//          at the threshold are broken by position (the original leaves them to an unstable sort).
// Cost:    a sample and a pass for the thresholds (GPUs: two passes), one for the majority, one to merge; a sweep of
//          scales shares them.

#include <algorithm>

#include <ATen/TensorOperators.h>

#include "core/model_weights.h"
#include "fusion/passes/direction.h"
#include "fusion/passes/random_drop.h"
#include "fusion/passes/selection.h"
#include "fusion/passes/sign_election.h"

namespace fusegrid::methods::ties {
namespace {

struct Options {
  std::vector<double> density{0.2};
  double scale = 0.3;
  std::string merge = "sum";
  std::string dialect = "fusion_bench";
  std::vector<double> weights;
  std::string rescale = "none";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("density", density, Range{0.001, 1},
            "fraction of the entries of a task vector that are kept; one, or one per expert");
    v.param("scale", scale, Range{-2, 3}, "multiplier of the merged task vector");
    v.param("merge", merge, Choices{"sum", "mean", "max"},
            "how agreeing entries are merged (max: fusion_bench only)");
    v.param("dialect", dialect, Choices{"fusion_bench", "mergekit"}, "whose trimming and election rules");
    v.param("weights", weights, Range{-100, 100}, "mergekit: weight of each task vector; empty: all 1");
    v.param("rescale", rescale, Choices{"none", "l1"},
            "mergekit: l1 gives what is kept the L1 norm of the whole tensor");
  }
  void check(int64_t experts) const {
    if (dialect == "fusion_bench" && !weights.empty()) {
      throw ConfigError("method 'ties' takes 'weights' in dialect=mergekit only; leave them out");
    }
    if (dialect == "fusion_bench" && rescale != "none") {
      throw ConfigError("method 'ties' takes 'rescale' in dialect=mergekit only; leave it out");
    }
    if (dialect == "mergekit" && merge == "max") {
      throw ConfigError("method 'ties' has no merge=max in dialect=mergekit; use sum or mean");
    }
    model_weights("ties", weights, false, experts);
    number_of_each_model("ties", "density", density, experts);
  }
};

std::vector<double> densities(const FusionInput& in, const Options& options) {
  return number_of_each_model("ties", "density", options.density, static_cast<int64_t>(in.num_experts()));
}

Field fusion_bench_direction(const FusionInput& in, const Options& options, const std::string& key) {
  const TrimmedElection election =
      trim_and_elect(in, "task_vectors", densities(in, options), &Slice::task_vector_views);
  return in.field(key, [election, merge = options.merge](const Slice& slice) {
    return merge_elected(slice.task_vector_views(), election, merge);
  });
}

// Keeps the max(1, int(n density)) largest |tau| of one tensor; of equal ones the first.
at::Tensor keep_largest(const at::Tensor& tau, double density, const std::string& rescale) {
  const auto count = static_cast<int64_t>(static_cast<double>(tau.numel()) * density);
  const at::Tensor kept = tau * largest_mask(tau.abs(), std::max(count, int64_t{1}));
  return rescale == "none" ? kept : with_l1_norm_of(tau, kept);
}

Field mergekit_direction(const FusionInput& in, const Options& options, const std::string& key) {
  const auto weights = model_weights("ties", options.weights, false, static_cast<int64_t>(in.num_experts()));
  const auto density = densities(in, options);
  return in.tensor_field(
      key, [weights, density, merge = options.merge, rescale = options.rescale](const Slice& slice) {
        std::vector<at::Tensor> kept;
        for (size_t i = 0; i < weights.size(); ++i) {
          kept.push_back(keep_largest(slice.task_vector(i), density[i], rescale));
        }
        return merge_weighted(kept, weights, true, merge);
      });
}

Field direction(const FusionInput& in, const Options& options, const std::string& key) {
  return options.dialect == "mergekit" ? mergekit_direction(in, options, key)
                                       : fusion_bench_direction(in, options, key);
}

const RegisterDirection<Options> registered{
    {.name = "ties",
     .title = "TIES-Merging",
     .paper = "Yadav et al., NeurIPS 2023, arXiv:2306.01708",
     .formula = R"(trim    keep the density largest |tau_i| of each expert
elect   gamma = sign(sum_i tau_i)
merge   tau = sum | mean | max over the kept tau_i with sign gamma
theta = theta_0 + scale * tau)",
     .family = Family::kTaskVector,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained}},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::ties
