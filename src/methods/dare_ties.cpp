// DARE-TIES: drop entries of the task vectors at random and rescale the rest (DARE), then trim, elect and
// merge (TIES).
//
// Source:  Yu et al., ICML 2024, arXiv:2311.03099, and Yadav et al., NeurIPS 2023, arXiv:2306.01708, joined
//          as in FusionBench (rescale=inverse, density 0.2). mergekit's dare_ties is rescale=l1, density=1,
//          merge=sum.
// Differs: random numbers as in `dare`, whose masks these are; where a sum is exactly zero the majority
//          decides, as in FusionBench (mergekit: +).
// Cost:    three passes over N experts and a sample (GPUs: four; density=1: two); a sweep of scales shares the
// direction.

#include "core/model_weights.h"
#include "fusion/passes/direction.h"
#include "fusion/passes/random_drop.h"
#include "fusion/passes/sign_election.h"

namespace fusegrid::methods::dare_ties {
namespace {

struct Options {
  std::vector<double> drop_rate{0.5};
  std::vector<double> density{0.2};
  std::string rescale = "inverse";
  std::string merge = "sum";
  std::vector<double> weights;
  double scale = 0.5;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("drop_rate", drop_rate, Range{0, 0.9999},
            "probability that an entry of a task vector is dropped; one, or one per expert");
    v.param("density", density, Range{0.001, 1},
            "fraction of all entries that TIES keeps after the drop; one, or one per expert");
    v.param("rescale", rescale, Choices{"inverse", "l1", "none"},
            "how the kept entries make up for the dropped ones");
    v.param("merge", merge, Choices{"sum", "mean", "max"}, "how agreeing entries are merged");
    v.param("weights", weights, Range{-100, 100}, "weight of each task vector; empty: all 1");
    v.param("scale", scale, Range{-2, 3}, "multiplier of the merged task vector");
  }
  void check(int64_t experts) const {
    model_weights("dare_ties", weights, false, experts);
    number_of_each_model("dare_ties", "drop_rate", drop_rate, experts);
    number_of_each_model("dare_ties", "density", density, experts);
  }
};

Field direction(const FusionInput& in, const Options& options, const std::string& key) {
  const auto experts = static_cast<int64_t>(in.num_experts());
  const auto weights = model_weights("dare_ties", options.weights, false, experts);
  const auto rates = number_of_each_model("dare_ties", "drop_rate", options.drop_rate, experts);
  const auto densities = number_of_each_model("dare_ties", "density", options.density, experts);
  const auto factors = drop_rescaling(in, rates, options.rescale);
  const auto dropped = [=, &in](const Slice& slice) {
    std::vector<double> of_slice;
    for (size_t i = 0; i < weights.size(); ++i) {
      of_slice.push_back(factors[slice.tensor_index * weights.size() + i] * weights[i]);
    }
    return randomly_dropped(in, slice, rates, of_slice);
  };
  const TrimmedElection election = trim_and_elect(in, key, densities, dropped);
  return in.field(key, [dropped, election, merge = options.merge](const Slice& slice) {
    return merge_elected(dropped(slice), election, merge);
  });
}

const RegisterDirection<Options> registered{
    {.name = "dare_ties",
     .title = "DARE-TIES",
     .paper = "Yu et al., ICML 2024, arXiv:2311.03099",
     .formula = R"(d_i = w_i r_i m_i tau_i,   m_i ~ Bernoulli(1 - drop_rate) per entry, r_i as in DARE
trim, elect and merge d_i as TIES does
theta = theta_0 + scale * tau)",
     .family = Family::kTaskVector,
     .needs = {Need::kPretrained},
     .random = true},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::dare_ties
