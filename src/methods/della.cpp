// DELLA: drop entries of the task vectors at random, small ones more often, then merge as TIES or task
// arithmetic do.
//
// Source:  Deep et al., "DELLA-Merging: Reducing Interference in Model Merging through Magnitude-Based
//          Sampling", 2024, arXiv:2406.11617. rescale=inverse is the paper's (each kept entry divided by
//          its own probability), l1 mergekit's. elect=false is mergekit's della_linear.
// Differs: entries are ranked within an output neuron (first dimension; vectors as a whole); mergekit ranks
//          along the second dimension, which is the same except for convolutions. Random numbers depend on
//          (seed, task, position) alone. One-entry rows are kept with probability `density` (mergekit
//          fails).
// Cost:    one pass over N experts, whole tensors, one sort per row; a sweep of scales shares the
//          direction.

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/argsort.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/zeros_like.h>

#include "core/errors.h"
#include "core/model_weights.h"
#include "core/philox.h"
#include "core/text.h"
#include "fusion/loops/random_numbers.h"
#include "fusion/passes/direction.h"
#include "fusion/passes/random_drop.h"
#include "fusion/passes/sign_election.h"

namespace fusegrid::methods::della {
namespace {

// Of one expert.
struct Keeping {
  double density = 0;
  double epsilon = 0;

  void check() const {
    if (density < 1 && (density - epsilon <= 0 || density + epsilon >= 1)) {
      throw ConfigError(
          "method 'della' needs density - epsilon and density + epsilon inside (0, 1), but they are " +
          number_text(density - epsilon) + " and " + number_text(density + epsilon) +
          "; choose a smaller epsilon");
    }
  }
};

struct Options {
  std::vector<double> density{0.5};
  std::vector<double> epsilon{0.15};
  bool elect = true;
  std::string merge = "mean";
  std::string rescale = "inverse";
  std::vector<double> weights;
  double scale = 1;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("density", density, Range{0.001, 1},
            "mean probability that an entry is kept; 1: all are; one, or one per expert");
    v.param("epsilon", epsilon, Range{0, 0.5},
            "the smallest entry of a row is kept with density - epsilon, the largest with density + epsilon; "
            "one, "
            "or one per expert");
    v.param("elect", elect, "elect a sign per entry as TIES does; false: della_linear");
    v.param("merge", merge, Choices{"sum", "mean"}, "mean: divided by the weights that take part");
    v.param("rescale", rescale, Choices{"inverse", "l1", "none"},
            "how kept entries make up for dropped ones");
    v.param("weights", weights, Range{-100, 100}, "weight of each task vector; empty: all 1");
    v.param("scale", scale, Range{-2, 3}, "multiplier of the merged task vector");
  }
  void check(int64_t experts) const {
    model_weights("della", weights, false, experts);
    for (const Keeping& keeping : each(experts)) {
      keeping.check();
    }
  }
  std::vector<Keeping> each(int64_t experts) const {
    const auto densities = number_of_each_model("della", "density", density, experts);
    const auto epsilons = number_of_each_model("della", "epsilon", epsilon, experts);
    std::vector<Keeping> all;
    for (size_t i = 0; i < densities.size(); ++i) {
      all.push_back({densities[i], epsilons[i]});
    }
    return all;
  }
};

// Probability of each entry to be kept, by the rank of its magnitude in its row.
at::Tensor keep_probability(const at::Tensor& tau, const Keeping& keeping) {
  const int64_t rows = tau.dim() < 2 ? 1 : tau.size(0);
  const int64_t columns = tau.numel() / rows;
  if (columns == 1) {
    return at::full_like(tau, keeping.density);
  }
  const at::Tensor order = at::argsort(tau.reshape({rows, columns}).abs(), /*stable=*/true, /*dim=*/1);
  const at::Tensor ranks = at::arange(columns, order.options()).expand({rows, columns});
  const at::Tensor rank = at::zeros_like(order).scatter_(1, order, ranks).to(at::kFloat);
  const double step = 2 * keeping.epsilon / static_cast<double>(columns - 1);
  return (rank * step + (keeping.density - keeping.epsilon)).view(tau.sizes());
}

at::Tensor sampled(const FusionInput& in, const Slice& slice, size_t expert, const Keeping& keeping,
                   const std::string& rescale) {
  const at::Tensor tau = slice.task_vector(expert);
  if (keeping.density >= 1) {
    return tau;
  }
  const uint64_t key = derive_key(in.seed(), "della/" + in.expert_names()[expert]);
  const at::Tensor random =
      uniform_on(tau.device(), key, 0, slice.global_begin, slice.count).view(tau.sizes());
  const at::Tensor probability = keep_probability(tau, keeping);
  const at::Tensor kept = tau * (random < probability);
  if (rescale == "l1") {
    return with_l1_norm_of(tau, kept);
  }
  return rescale == "inverse" ? kept / probability : kept;
}

Field direction(const FusionInput& in, const Options& options, const std::string& key) {
  const auto experts = static_cast<int64_t>(in.num_experts());
  const auto weights = model_weights("della", options.weights, false, experts);
  const auto keeping = options.each(experts);
  return in.tensor_field(key, [=, &in](const Slice& slice) {
    std::vector<at::Tensor> kept;
    for (size_t i = 0; i < weights.size(); ++i) {
      kept.push_back(sampled(in, slice, i, keeping[i], options.rescale));
    }
    return merge_weighted(kept, weights, options.elect, options.merge);
  });
}

const RegisterDirection<Options> registered{
    {.name = "della",
     .title = "DELLA",
     .paper = "Deep et al., 2024, arXiv:2406.11617",
     .formula = R"(p_i = density - epsilon + 2 epsilon rank(|tau_i|) / (n - 1)   rank 0 .. n - 1 within a row
t_i = m_i tau_i / p_i,   m_i ~ Bernoulli(p_i)
theta = theta_0 + scale * sum | mean of w_i t_i
elect   only entries of the sign of sum_i w_i t_i)",
     .family = Family::kTaskVector,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained},
     .random = true},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::della
