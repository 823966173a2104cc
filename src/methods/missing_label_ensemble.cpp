// Ensemble with missing labels: each class is answered by the mean of the experts that have seen it.
//
// Source:  Jin et al., "Dataless Knowledge Fusion by Merging Weights of Language Models", ICLR 2023, arXiv:2212.09849,
//          whose code is level=logits.
// Differs: a class that no expert has seen is refused; the authors' code gives it a logit of zero.
//          level=probabilities, whose means are divided by their sum, is ours.
// Cost:    no fusion; every inference runs N models.

#include <ATen/TensorOperators.h>

#include "fusion/fusion_input.h"
#include "fusion/whole_model/head_of_classes_seen.h"

namespace fusegrid::methods::missing_label_ensemble {
namespace {

struct Options {
  std::string level = "logits";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("level", level, Choices{"logits", "probabilities"}, "which answers are averaged");
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  const EnsembleLevel level = parse_ensemble_level(options.level);
  return ensemble(
      in.experts(), level,
      [level, experts = in.classes_seen()](const std::vector<at::Tensor>& answers, const std::string& head) {
        std::vector<std::vector<int64_t>> seen;
        for (const ClassesSeen& by_task : experts) {
          const auto some = by_task.find(head);
          seen.push_back(some == by_task.end() ? std::vector<int64_t>() : some->second);
        }
        const at::Tensor shares =
            shares_of_classes(seen, answers.front().size(-1)).to(answers.front().options());
        at::Tensor mean = answers[0] * shares[0];
        for (size_t i = 1; i < answers.size(); ++i) {
          mean = mean + answers[i] * shares[static_cast<int64_t>(i)];
        }
        return level == EnsembleLevel::kProbabilities ? mean / mean.sum(-1, true) : mean;
      });
}

const RegisterMethod<Options> registered{
    {.name = "missing_label_ensemble",
     .title = "Ensemble with missing labels",
     .paper = "Jin et al., ICLR 2023, arXiv:2212.09849",
     .formula = R"(E_c = the experts that have seen class c
level=logits         z_c(x) = 1/|E_c| sum_(i in E_c) z_i,c(x)
level=probabilities  p_c(x) ~ 1/|E_c| sum_(i in E_c) softmax(z_i(x))_c)",
     .family = Family::kEnsemble,
     .grain = Grain::kWholeModel,
     .needs = {Need::kClassesSeen},
     .demands = {Demand::kClasses, Demand::kDistribution},
     .yields = Yields::kEnsemble},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::missing_label_ensemble
