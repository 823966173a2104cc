// Weighted ensemble: a linear combination of the experts' answers (levels as in simple_ensemble).
//
// Source:  FusionBench, arXiv:2406.03280.
// Differs: nothing.
// Cost:    no fusion; every inference runs N models.

#include <ATen/TensorOperators.h>
#include <ATen/ops/mul.h>

#include "core/model_weights.h"
#include "fusion/fusion_input.h"

namespace fusegrid::methods::weighted_ensemble {
namespace {

struct Options {
  std::vector<double> weights;
  bool normalize = true;
  std::string level = "features";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("weights", weights, Range{0, 100}, "weight of each expert, in their order; empty: all equal");
    v.param("normalize", normalize, "divide the weights by their sum");
    v.param("level", level, Choices{"features", "logits", "probabilities"}, "which answers are combined");
  }
  std::set<Demand> demands() const {
    return level == "probabilities" ? std::set<Demand>{Demand::kDistribution}
           : level == "features"    ? std::set<Demand>{Demand::kHeads}
                                    : std::set<Demand>{};
  }
  void check(int64_t experts) const { model_weights("weighted_ensemble", weights, normalize, experts); }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  const auto weights = model_weights("weighted_ensemble", options.weights, options.normalize,
                                     static_cast<int64_t>(in.num_experts()));
  return ensemble(in.experts(), parse_ensemble_level(options.level),
                  [weights](const std::vector<at::Tensor>& answers, const std::string&) {
                    at::Tensor sum = answers[0] * weights[0];
                    for (size_t i = 1; i < answers.size(); ++i) {
                      sum = sum + answers[i] * weights[i];
                    }
                    return sum;
                  });
}

const RegisterMethod<Options> registered{
    {.name = "weighted_ensemble",
     .title = "Weighted Ensemble",
     .paper = "Tang et al., arXiv:2406.03280",
     .formula = "answer(x) = sum_i w_i answer_i(x),   w divided by its sum if normalize",
     .family = Family::kEnsemble,
     .grain = Grain::kWholeModel,
     .yields = Yields::kEnsemble,
     .order_invariant = false},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::weighted_ensemble
