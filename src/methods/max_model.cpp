// Max-model predictor: the largest of the experts' answers, entry by entry.
//
//   level=features  elementwise maximum of the features before normalisation and head (FusionBench's code)
//   level=logits    elementwise maximum of the logits: the class of the most confident expert wins (its
//   paper)
//
// Source:  Tang et al., "FusionBench", arXiv:2406.03280.
// Differs: nothing; the two definitions are both offered.
// Cost:    no fusion; every inference runs N models.

#include <ATen/ops/amax.h>
#include <ATen/ops/stack.h>

#include "fusion/fusion_input.h"

namespace fusegrid {
namespace {

struct Options {
  std::string level = "features";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("level", level, Choices{"features", "logits"}, "where the maximum is taken");
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  std::vector<Weights> members;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    members.push_back(in.expert(i));
  }
  return ensemble(std::move(members), parse_ensemble_level(options.level),
                  [](const std::vector<at::Tensor>& answers) { return at::amax(at::stack(answers), 0); });
}

const RegisterMethod<Options> registered{
    {.name = "max_model",
     .title = "Max-Model Predictor",
     .paper = "Tang et al., arXiv:2406.03280",
     .family = Family::kEnsemble,
     .yields = Yields::kEnsemble},
    fuse,
};

}  // namespace
}  // namespace fusegrid
