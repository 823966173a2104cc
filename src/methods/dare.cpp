// DARE: drop entries of the task vectors at random, rescale the rest, then task arithmetic.
//
// Source:  Yu et al., "Language Models are Super Mario", ICML 2024, arXiv:2311.03099. rescale=inverse is the
//          paper's and FusionBench's, l1 is mergekit's.
// Differs: an entry's random number depends on (seed, task, position) alone, so the masks are the same for any
//          number of ranks, order of experts or device. l1: tensors whose kept sum is below 1e-7 are not
//          rescaled, as in mergekit.
// Cost:    one pass (l1: two) over N experts; a sweep of scales shares it.

#include "fusion/passes/direction.h"
#include "fusion/passes/random_drop.h"

namespace fusegrid::methods::dare {
namespace {

struct Options {
  double drop_rate = 0.5;
  double scale = 0.3;
  std::string rescale = "inverse";
  std::string merge = "sum";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("drop_rate", drop_rate, Range{0, 0.9999},
            "probability that an entry of a task vector is dropped");
    v.param("scale", scale, Range{-2, 2}, "multiplier of the merged task vectors");
    v.param("rescale", rescale, Choices{"inverse", "l1", "none"},
            "how the kept entries make up for the dropped ones");
    v.param("merge", merge, Choices{"sum", "mean"},
            "sum: DARE task arithmetic; mean, with scale=1: DARE average");
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  const size_t experts = in.num_experts();
  const auto factors = drop_rescaling(in, options.drop_rate, options.rescale);
  const double divisor = options.merge == "mean" ? static_cast<double>(experts) : 1;
  const Field direction =
      in.field(direction_key("dare", options) + "/" + seed_key(in), [&](const Slice& slice) {
        std::vector<double> weights;
        for (size_t i = 0; i < experts; ++i) {
          weights.push_back(factors[slice.tensor_index * experts + i] / divisor);
        }
        const std::vector<double> unscaled(experts, 1.0);
        return weighted_sum_of(randomly_dropped(in, slice, options.drop_rate, unscaled), weights);
      });
  return move_along(in, direction, options.scale);
}

const RegisterMethod<Options> registered{
    {.name = "dare",
     .title = "DARE",
     .paper = "Yu et al., ICML 2024, arXiv:2311.03099",
     .formula = R"(theta = theta_0 + scale * sum_i r_i m_i tau_i,   m_i ~ Bernoulli(1 - drop_rate) per entry
rescale=inverse  r_i = 1 / (1 - drop_rate)
rescale=l1       r_i = sum |tau_i| / sum |m_i tau_i| per tensor
merge=mean       the sum divided by N)",
     .family = Family::kTaskVector,
     .needs = {Need::kPretrained},
     .random = true},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::dare
