// DARE: drop entries of the task vectors at random, rescale the rest, then task arithmetic.
//
// Source:  Yu et al., "Language Models are Super Mario", ICML 2024, arXiv:2311.03099. rescale=inverse is the
//          paper's and FusionBench's, l1 is mergekit's; so are `weights`, a rate per expert, and merge=mean with
//          weights.
// Differs: an entry's random number depends on (seed, task, position) alone, so the masks are the same for any
//          number of ranks, order of experts or device. l1: tensors whose kept sum is below 1e-7 are not
//          rescaled, as in mergekit.
// Cost:    one pass (l1: two) over N experts; a sweep of scales shares it.

#include "core/model_weights.h"
#include "fusion/passes/direction.h"
#include "fusion/passes/random_drop.h"
#include "fusion/passes/sign_election.h"

namespace fusegrid::methods::dare {
namespace {

struct Options {
  std::vector<double> drop_rate{0.5};
  double scale = 0.3;
  std::string rescale = "inverse";
  std::string merge = "sum";
  std::vector<double> weights;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("drop_rate", drop_rate, Range{0, 0.9999},
            "probability that an entry of a task vector is dropped; one, or one per expert");
    v.param("scale", scale, Range{-2, 2}, "multiplier of the merged task vectors");
    v.param("rescale", rescale, Choices{"inverse", "l1", "none"},
            "how the kept entries make up for the dropped ones");
    v.param("merge", merge, Choices{"sum", "mean"},
            "sum: DARE task arithmetic; mean, with scale=1: DARE average");
    v.param("weights", weights, Range{-100, 100}, "weight of each task vector; empty: all 1");
  }
  void check(int64_t experts) const {
    number_of_each_model("dare", "drop_rate", drop_rate, experts);
    model_weights("dare", weights, false, experts);
  }
};

Field direction(const FusionInput& in, const Options& options, const std::string& key) {
  const auto experts = static_cast<int64_t>(in.num_experts());
  const auto rates = number_of_each_model("dare", "drop_rate", options.drop_rate, experts);
  const auto weights = model_weights("dare", options.weights, false, experts);
  const auto factors = drop_rescaling(in, rates, options.rescale);
  const double divisor = options.merge == "mean" ? mean_divisor(weights) : 1;
  return in.field(key, [=, &in](const Slice& slice) {
    std::vector<double> shares;
    for (size_t i = 0; i < weights.size(); ++i) {
      shares.push_back(factors[slice.tensor_index * weights.size() + i] * weights[i] / divisor);
    }
    const std::vector<double> unscaled(weights.size(), 1.0);
    return weighted_sum_of(randomly_dropped(in, slice, rates, unscaled), shares);
  });
}

const RegisterDirection<Options> registered{
    {.name = "dare",
     .title = "DARE",
     .paper = "Yu et al., ICML 2024, arXiv:2311.03099",
     .formula =
         R"(theta = theta_0 + scale * sum_i w_i r_i m_i tau_i,   m_i ~ Bernoulli(1 - drop_rate) per entry
rescale=inverse  r_i = 1 / (1 - drop_rate)
rescale=l1       r_i = sum |tau_i| / sum |m_i tau_i| per tensor
merge=mean       the sum divided by sum_i w_i)",
     .family = Family::kTaskVector,
     .needs = {Need::kPretrained},
     .random = true},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::dare
