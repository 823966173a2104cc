// Concrete task arithmetic: task arithmetic under a mask of the weights that all tasks share, learnt on unlabelled
// inputs. Source and differences: fusion/whole_model/concrete_mask.h.
//
// Cost: `steps` forward and backward passes of batch inputs per task, for each a random number per weight.

#include "fusion/whole_model/concrete_mask.h"

namespace fusegrid::methods::concrete_task_arithmetic {
namespace {

FusedModel fuse(const FusionInput& in, const ConcreteOptions& options) {
  CoefficientMerge merged(in, Granularity::kTask, false);
  const std::vector<at::Tensor> moved = merged.moved(merged.coefficients(options.scale));
  ConcreteMask mask(in, merged.moving(), options);
  AdaptationStream stream(in, options.batch, "concrete");
  const int64_t steps = moved.empty() ? 0 : options.steps;  // where no expert moved, nothing can be learnt
  for (int64_t step = 0; step < steps; ++step) {
    mask.draw(step);
    merge_masked(in, merged, mask, moved);
    backward_of_entropy(in, merged.weights(), stream);
    step_mask(merged, mask, moved);
    in.tick();
  }
  mask.settle(options.mask);
  merge_masked(in, merged, mask, moved);
  return one_model(merged.take());
}

const RegisterMethod<ConcreteOptions> registered{
    {.name = "concrete_task_arithmetic",
     .title = "Concrete Task Arithmetic",
     .paper = "Tang et al., 2023, arXiv:2312.06173",
     .formula =
         R"(m     = sigmoid((logit + log u - log(1 - u)) / temperature),   u uniform, drawn anew in each step
theta = theta_0 + scale * m / mean(m) * sum_i tau_i,   the mean of each tensor
logit minimises the entropy of the predictions)",
     .family = Family::kTestTime,
     .grain = Grain::kWholeModel,
     .needs = {Need::kPretrained, Need::kTestInputs, Need::kGradients},
     .demands = {Demand::kDistribution},
     .random = true,
     .cost = Cost::kTraining,
     .training_models = 8},  // and of the mask logits, their moments and the draw, and what the mask is of
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::concrete_task_arithmetic
