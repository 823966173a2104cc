// Concrete AdaMerging: AdaMerging under a mask of the weights that all tasks share. First the mask is learnt, such that
// a step of AdaMerging under it is a good one, then the coefficients.
//
// Source:  Tang et al., arXiv:2312.06173 (fusion/whole_model/concrete_mask.h), its algorithm 1.
// Differs: the step of the coefficients inside a step of the mask is one of gradient descent from the initial ones, as
//          the paper's; FusionBench's is one of an Adam that goes on through all steps, of a gradient at the
//          coefficients that the step before left.
// Cost:    `steps` times two forward and backward passes of batch inputs per task, and `adamerging_steps` times one.

#include <ATen/TensorOperators.h>

#include "fusion/whole_model/concrete_mask.h"

namespace fusegrid::methods::concrete_adamerging {
namespace {

struct Options : ConcreteOptions {
  double base_lr = 0.1;
  double adamerging_lr = 1e-3;
  int64_t adamerging_steps = 1000;
  std::string coefficients = "layer_wise";

  template <typename Visitor>
  void describe(Visitor& v) {
    ConcreteOptions::describe(v);
    v.param("base_lr", base_lr, Range{0, 100}, "of the step of the coefficients inside a step of the mask");
    v.param("adamerging_lr", adamerging_lr, Range{0, 10}, "learning rate of Adam on the coefficients");
    v.param("adamerging_steps", adamerging_steps, Range{0, 1e6}, "steps of Adam on the coefficients");
    v.param("coefficients", coefficients, Choices{"layer_wise", "task_wise"},
            "one of each task and tensor, or one of each task");
  }
};

Granularity granularity_of(const Options& options) {
  return options.coefficients == "task_wise" ? Granularity::kTask : Granularity::kTensor;
}

// From dL/dtheta to dL/d(theta without the mask), in place.
void mask_gradients(CoefficientMerge& merged, const ConcreteMask& mask) {
  for (size_t t = 0; t < merged.moving().size(); ++t) {
    at::Tensor& gradient = merged.weights().at(merged.moving()[t]).mutable_grad();
    if (gradient.defined()) {
      gradient.mul_(mask.of(t));
    }
  }
}

void train_mask(const FusionInput& in, const Options& options, CoefficientMerge& merged, ConcreteMask& mask) {
  const at::Tensor initial = merged.coefficients(options.scale);
  const std::vector<at::Tensor> moved = merged.moved(initial);
  AdaptationStream stream(in, options.batch, "concrete");
  for (int64_t step = 0; step < options.steps; ++step) {
    mask.draw(step);
    merge_masked(in, merged, mask, moved);
    backward_of_entropy(in, merged.weights(), stream);
    mask_gradients(merged, mask);
    const at::Tensor stepped = initial - merged.gradient(initial) * options.base_lr;
    const std::vector<at::Tensor> moved_on = merged.moved(stepped);
    merge_masked(in, merged, mask, moved_on);
    backward_of_entropy(in, merged.weights(), stream);
    step_mask(merged, mask, moved_on);
    in.tick();
  }
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  Weights masks;  // by tensor
  {
    CoefficientMerge merged(in, granularity_of(options), false);
    ConcreteMask mask(in, merged.moving(), options);
    if (!merged.moving().empty()) {  // else nothing can be learnt
      train_mask(in, options, merged, mask);
    }
    mask.settle(options.mask);
    for (size_t t = 0; t < merged.moving().size(); ++t) {
      masks.emplace(merged.moving()[t], mask.of(t).reshape({-1}));
    }
  }
  AdaptationOptions adaptation;
  adaptation.init = options.scale;
  adaptation.lr = options.adamerging_lr;
  adaptation.steps = options.adamerging_steps;
  adaptation.batch = options.batch;
  return adapt_coefficients(in, adaptation, granularity_of(options),
                            [&](const std::string& tensor, at::Tensor& rows) {
                              if (const auto mask = masks.find(tensor); mask != masks.end()) {
                                rows.mul_(mask->second);
                              }
                            });
}

const RegisterMethod<Options> registered{
    {.name = "concrete_adamerging",
     .title = "Concrete AdaMerging",
     .paper = "Tang et al., 2023, arXiv:2312.06173",
     .formula = R"(m, m^ = m / mean(m): as of concrete_task_arithmetic
theta(lambda, m) = theta_0 + m^ sum_i lambda_i tau_i
mask          lambda' = scale - base_lr dL/dlambda,   logit minimises L(theta(lambda', m)),   L: the entropy
coefficients  lambda minimises L(theta(lambda, m)) from scale on, m fixed)",
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
}  // namespace fusegrid::methods::concrete_adamerging
