// Max-model predictor: the largest of the experts' answers, entry by entry.
//
// Source:  Tang et al., "FusionBench", arXiv:2406.03280: level=features is its code, logits its paper (the class
//          of the most confident expert wins).
// Differs: nothing; the two definitions are both offered.
// Cost:    no fusion; every inference runs N models.

#include <ATen/ops/amax.h>
#include <ATen/ops/stack.h>

#include "fusion/fusion_input.h"

namespace fusegrid::methods::max_model {
namespace {

struct Options {
  std::string level = "features";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("level", level, Choices{"features", "logits"}, "where the maximum is taken");
  }
  std::set<Demand> demands() const {
    return level == "features" ? std::set<Demand>{Demand::kHeads} : std::set<Demand>{};
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  return ensemble(in.experts(), parse_ensemble_level(options.level),
                  [](const std::vector<at::Tensor>& answers, const std::string& /*head*/) {
                    return at::amax(at::stack(answers), 0);
                  });
}

const RegisterMethod<Options> registered{
    {.name = "max_model",
     .title = "Max-Model Predictor",
     .paper = "Tang et al., arXiv:2406.03280",
     .formula = R"(level=features  f(x) = max_i f_i(x), entry by entry, before normalisation and head
level=logits    z(x) = max_i z_i(x), entry by entry)",
     .family = Family::kEnsemble,
     .grain = Grain::kWholeModel,
     .yields = Yields::kEnsemble},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::max_model
