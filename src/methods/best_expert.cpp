// Best expert: the one expert that does best on all tasks together, chosen on their validation examples. What a merge
// has to be better than to be worth it.
//
// Source:  the baseline of Tam et al., "Realistic Evaluation of Model Merging for Compositional Generalization", 2024,
//          arXiv:2409.18314, and of model soups ("best individual model").
// Differs: of equal accuracies the lower loss decides, then the order of the experts' names.
// Cost:    N passes over the validation examples of all tasks.

#include "fusion/whole_model/validation_score.h"

namespace fusegrid::methods::best_expert {
namespace {

FusedModel fuse(const FusionInput& in, const NoOptions&) {
  const ValidationScorer score(in);
  std::map<std::string, std::pair<size_t, ValidationScore>> by_name;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    by_name[in.expert_names()[i]] = {i, score(in.expert(i))};
  }
  auto best = by_name.begin();
  for (auto expert = by_name.begin(); expert != by_name.end(); ++expert) {
    best = expert->second.second.better_than(best->second.second) ? expert : best;
  }
  FusedModel fused = one_model(in.expert(best->second.first));
  fused.facts["chosen"] = best->first;
  return fused;
}

const RegisterMethod<NoOptions> registered{
    {.name = "best_expert",
     .title = "Best expert",
     .paper = "Tam et al., 2024, arXiv:2409.18314 (baseline)",
     .formula =
         R"(theta = theta_k,   k: the expert of the highest mean accuracy over the experts' tasks on validation
chosen by scores on validation: its validation score is biased upwards)",
     .family = Family::kReference,
     .grain = Grain::kWholeModel,
     .needs = {Need::kValidationExamples},
     .demands = {Demand::kClasses},
     .cost = Cost::kForwardPasses},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::best_expert
