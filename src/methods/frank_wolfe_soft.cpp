// Frank-Wolfe merging, soft: each step mixes the models that the gradient of the labelled loss asks for by AdaMerging.
//
// Source:  Chen et al., "FW-Merging: Scaling Model Merging with Frank-Wolfe Optimization", ICCV 2025, arXiv:2503.12649.
// Differs: as frank_wolfe. A step chooses the `chosen` models with the least inner products with the gradient of the
//          mean loss, among the experts and the start. In the authors' code each task chooses one, without repetition,
//          so that with an expert for each task all are chosen and the labels have no say; the default 3 is ours. As
//          there, the coefficients of a step start at zero behind a start at task arithmetic; `step` makes them start
//          where the hard variant ends, dealt evenly over the chosen.
// Cost:    for each of `steps` a forward and a backward pass of batch examples per task, and adamerging_steps of them
//          of adamerging_batch inputs per task.

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argsort.h>
#include <ATen/ops/full.h>

#include "fusion/whole_model/adam.h"
#include "fusion/whole_model/coefficients.h"
#include "fusion/whole_model/frank_wolfe.h"

namespace fusegrid::methods::frank_wolfe_soft {
namespace {

struct Options {
  double scale = 0.3;
  double step = 0;
  int64_t steps = 10;
  int64_t batch = 100;
  std::string coefficients = "task_wise";
  int64_t chosen = 3;
  int64_t adamerging_steps = 500;
  int64_t adamerging_batch = 16;
  double lr = 1e-3;
  std::string inputs = "test";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("scale", scale, Range{-2, 2}, "of the task arithmetic that it starts from; 0: the base");
    v.param("step", step, Range{0, 1},
            "factor of 2 / (t + 2), where the sum of a step's coefficients starts; 0: at no step");
    v.param("steps", steps, Range{0, 1e6}, "steps");
    v.param("batch", batch, Range{1, 65536},
            "labelled training examples of each task, the same in all steps");
    v.param("coefficients", coefficients, Choices{"task_wise", "layer_wise"},
            "whether a step chooses whole models, or for each tensor; it mixes them tensor by tensor");
    v.param("chosen", chosen, Range{1, 1e6}, "models that a step mixes; all where there are fewer");
    v.param("adamerging_steps", adamerging_steps, Range{0, 1e6}, "steps of Adam inside of each step");
    v.param("adamerging_batch", adamerging_batch, Range{1, 4096}, "unlabelled inputs per task and step");
    v.param("lr", lr, Range{0, 10}, "learning rate of Adam");
    describe_inputs(v, inputs);
  }
  std::set<Need> needs(std::set<Need> of_card) const { return needs_of_inputs(inputs, std::move(of_card)); }
};

// From a merge to the chosen models, in coefficients of task vectors: [chosen, experts, columns].
at::Tensor directions(const at::Tensor& vertices, const at::Tensor& products, const at::Tensor& lambdas,
                      const Options& options) {
  const at::Tensor scores =
      options.coefficients == "task_wise" ? products.sum(1, true).expand_as(products) : products;
  const int64_t count = std::min(options.chosen, vertices.size(0));
  const at::Tensor best = at::argsort(scores, /*stable=*/true, 0, false).narrow(0, 0, count);
  const at::Tensor models = vertices.index_select(0, best.reshape({-1}));
  return models.view({count, best.size(1), -1}).transpose(1, 2) - lambdas;
}

// Where a step goes to: lambda + sum_j mu_j (s_j - lambda) with the mu [chosen, columns] that AdaMerging finds.
at::Tensor adapted(const FusionInput& in, CoefficientMerge& merged, const at::Tensor& lambdas,
                   const at::Tensor& to_models, double sum, AdaptationStream& stream,
                   const Options& options) {
  const int64_t count = to_models.size(0);
  at::Tensor mu = at::full({count, lambdas.size(1)}, sum / static_cast<double>(count), lambdas.options());
  const auto moved = [&] { return lambdas + (mu.unsqueeze(1) * to_models).sum(0); };
  Adam adam(mu, options.lr);
  for (int64_t step = 0; step < options.adamerging_steps; ++step) {
    const at::Tensor mixed = moved();
    merged.merge(mixed);
    backward_of_entropy(in, merged.weights(), stream);
    adam.step((merged.gradient(mixed).unsqueeze(0) * to_models).sum(1));
    in.tick();
  }
  return moved();
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  const at::NoGradGuard no_gradients;
  CoefficientMerge merged(in, Granularity::kTensor, false);
  at::Tensor lambdas = merged.coefficients(options.scale);
  const LinearProblem problem(in, lambdas, options.batch);
  AdaptationStream stream(in, options.adamerging_batch, "frank_wolfe_soft");
  for (int64_t step = 0; step < options.steps && !merged.moving().empty(); ++step) {
    const at::Tensor to_models =
        directions(problem.vertices(), problem.products(merged, lambdas), lambdas, options);
    const double sum = options.step * 2 / static_cast<double>(step + 2);
    lambdas = adapted(in, merged, lambdas, to_models, sum, stream, options);
    in.tick();
  }
  FusedModel fused = one_model(merged.merged(lambdas));
  fused.facts["coefficients"] = coefficient_text(in, lambdas);
  return fused;
}

const RegisterMethod<Options> registered{
    {.name = "frank_wolfe_soft",
     .title = "Frank-Wolfe Merging (soft)",
     .paper = "Chen et al., ICCV 2025, arXiv:2503.12649",
     .formula = R"(theta   starts as theta_s = theta_0 + scale * sum_i tau_i
s_j     = the `chosen` models with the least <dL/dtheta, s_j> among theta_1, ..., theta_N and theta_s,   L the mean loss of labelled training examples
theta^l <- theta^l + sum_j mu_j^l (s_j^l - theta^l),   mu minimises the entropy of the predictions, from step * 2 / (t + 2) / chosen on,   t = 0, 1, ...)",
     .family = Family::kTestTime,
     .grain = Grain::kWholeModel,
     .needs = {Need::kPretrained, Need::kTrainInputs, Need::kTrainLabels, Need::kTestInputs,
               Need::kGradients},
     .demands = {Demand::kDistribution},
     .random = true,
     .cost = Cost::kTraining},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::frank_wolfe_soft
