// Simple ensemble: the mean of the experts' answers.
//
//   level=features       mean of the features before normalisation and head (FusionBench's "ensemble")
//   level=logits         mean of the logits
//   level=probabilities  mean of the softmax probabilities
//
// Source:  Dietterich, "Ensemble Methods in Machine Learning", MCS 2000; FusionBench, arXiv:2406.03280.
// Differs: nothing.
// Cost:    no fusion; every inference runs N models.

#include <ATen/ops/stack.h>

#include "fusion/fusion_input.h"

namespace fusegrid {
namespace {

struct Options {
  std::string level = "features";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("level", level, Choices{"features", "logits", "probabilities"}, "which answers are averaged");
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  std::vector<Weights> members;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    members.push_back(in.expert(i));
  }
  return ensemble(std::move(members), parse_ensemble_level(options.level),
                  [](const std::vector<at::Tensor>& answers) { return at::stack(answers).mean(0); });
}

const RegisterMethod<Options> registered{
    {.name = "simple_ensemble",
     .title = "Simple Ensemble",
     .paper = "Dietterich, MCS 2000",
     .family = Family::kEnsemble,
     .yields = Yields::kEnsemble},
    fuse,
};

}  // namespace
}  // namespace fusegrid
