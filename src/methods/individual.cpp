// Individual: every task is answered by its own expert. Upper reference row; the denominator of normalised
// scores.
//
// Source:  -
// Differs: nothing.
// Cost:    none; as many stored models as tasks.

#include "fusion/fusion_input.h"

namespace fusegrid::methods::individual {
namespace {

FusedModel fuse(const FusionInput& in, const NoOptions&) {
  std::map<std::string, Weights> experts;
  double stored = 0;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    stored += static_cast<double>(num_parameters(in.expert(i)));
    experts.emplace(in.expert_names()[i], in.expert(i));
  }
  return model_per_task(std::move(experts), in.owners(), stored);
}

const RegisterMethod<NoOptions> registered{
    {.name = "individual",
     .title = "Individual",
     .paper = "-",
     .formula = "theta^(i) = theta_i",
     .family = Family::kReference,
     .grain = Grain::kWholeModel,
     .yields = Yields::kModelPerTask,
     .needs_task_identity = true},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::individual
