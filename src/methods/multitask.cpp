// Multi-task: one model trained on the labelled data of all tasks together. Reference row, no fusion.
//
// Source:  -
// Differs: trained with the zoo, for as many images of each task as that task's expert saw.
// Cost:    none here; the training is part of the zoo.

#include "fusion/fusion_input.h"

namespace fusegrid::methods::multitask {
namespace {

FusedModel fuse(const FusionInput& in, const NoOptions&) {
  FusedModel fused = one_model(in.multitask());
  fused.readouts = in.multitask_readouts();
  return fused;
}

const RegisterMethod<NoOptions> registered{
    {.name = "multitask",
     .title = "Multi-task",
     .paper = "-",
     .formula = "theta = argmin sum_i L_i(theta), trained from theta_0",
     .family = Family::kReference,
     .grain = Grain::kWholeModel,
     .needs = {Need::kMultitask, Need::kTrainLabels},
     .min_experts = 0},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::multitask
