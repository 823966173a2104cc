// Pretrained: the base itself, untouched. Lower reference row of every table.
//
// Source:  -
// Differs: nothing.
// Cost:    none.

#include "fusion/fusion_input.h"

namespace fusegrid::methods::pretrained {
namespace {

FusedModel fuse(const FusionInput& in, const NoOptions&) {
  return one_model(in.base());
}

const RegisterMethod<NoOptions> registered{
    {.name = "pretrained",
     .title = "Pretrained",
     .paper = "-",
     .formula = "theta = theta_0",
     .family = Family::kReference,
     .grain = Grain::kWholeModel,
     .needs = {Need::kPretrained},
     .min_experts = 0},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::pretrained
