// Simple ensemble: the mean of the experts' answers.
//
// Source:  Dietterich, "Ensemble Methods in Machine Learning", MCS 2000; FusionBench, arXiv:2406.03280, whose
//          "ensemble" is level=features.
// Differs: nothing.
// Cost:    no fusion; every inference runs N models.

#include <ATen/ops/stack.h>

#include "fusion/fusion_input.h"

namespace fusegrid::methods::simple_ensemble {
namespace {

struct Options {
  std::string level = "features";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("level", level, Choices{"features", "logits", "probabilities"}, "which answers are averaged");
  }
  std::set<Demand> demands() const {
    return level == "probabilities" ? std::set<Demand>{Demand::kDistribution}
           : level == "features"    ? std::set<Demand>{Demand::kHeads}
                                    : std::set<Demand>{};
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  return ensemble(
      in.experts(), parse_ensemble_level(options.level),
      [](const std::vector<at::Tensor>& answers, const std::string&) { return at::stack(answers).mean(0); });
}

const RegisterMethod<Options> registered{
    {.name = "simple_ensemble",
     .title = "Simple Ensemble",
     .paper = "Dietterich, MCS 2000",
     .formula = R"(level=features       f(x) = 1/N sum_i f_i(x), before normalisation and head
level=logits         z(x) = 1/N sum_i z_i(x)
level=probabilities  p(x) = 1/N sum_i softmax z_i(x))",
     .family = Family::kEnsemble,
     .grain = Grain::kWholeModel,
     .yields = Yields::kEnsemble},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::simple_ensemble
