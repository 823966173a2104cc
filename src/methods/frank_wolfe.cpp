// Frank-Wolfe merging, hard: steps towards the expert that the gradient of the labelled loss asks for.
//
// Source:  Chen et al., "FW-Merging: Scaling Model Merging with Frank-Wolfe Optimization", ICCV 2025, arXiv:2503.12649.
// Differs: the linear problem is solved as the paper states it, by inner products of the gradient with the models; the
//          authors' code sums cosines of the gradient with the weights of each tensor, which depend on the base. The
//          steps are made in the coefficients of the task vectors, which say the same: all models are base plus such a
//          sum. Every step sees the same examples. The soft variant, which runs AdaMerging inside of each step, is the
//          method frank_wolfe_soft.
// Cost:    `steps` forward and backward passes of batch examples per task.

#include "fusion/whole_model/frank_wolfe.h"

#include <ATen/TensorOperators.h>

#include "fusion/whole_model/coefficients.h"

namespace fusegrid::methods::frank_wolfe {
namespace {

struct Options {
  double scale = 0.3;
  double step = 0.1;
  int64_t steps = 10;
  int64_t batch = 100;
  std::string coefficients = "task_wise";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("scale", scale, Range{-2, 2}, "of the task arithmetic that it starts from; 0: the base");
    v.param("step", step, Range{0, 1}, "factor of the steps' lengths 2 / (t + 2); 1: those of Frank-Wolfe");
    v.param("steps", steps, Range{0, 1e6}, "steps");
    v.param("batch", batch, Range{1, 65536},
            "labelled training examples of each task, the same in all steps");
    v.param("coefficients", coefficients, Choices{"task_wise", "layer_wise"},
            "whether a step goes towards one model, or chooses one for each tensor");
  }
};

// Those of the best vertex for each column: [experts, columns].
at::Tensor best_vertices(const LinearProblem& problem, const at::Tensor& products) {
  return problem.vertices().index_select(0, products.argmin(0)).t();
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  CoefficientMerge merged(in, options.coefficients == "task_wise" ? Granularity::kTask : Granularity::kTensor,
                          false);
  at::Tensor lambdas = merged.coefficients(options.scale);
  const LinearProblem problem(in, lambdas, options.batch);
  for (int64_t step = 0; step < options.steps && !merged.moving().empty(); ++step) {
    const at::Tensor best = best_vertices(problem, problem.products(merged, lambdas));
    const double length = options.step * 2 / static_cast<double>(step + 2);
    lambdas = lambdas + (best - lambdas) * length;
    in.tick();
  }
  FusedModel fused = one_model(merged.merged(lambdas));
  fused.facts["coefficients"] = coefficient_text(in, lambdas);
  return fused;
}

const RegisterMethod<Options> registered{
    {.name = "frank_wolfe",
     .title = "Frank-Wolfe Merging",
     .paper = "Chen et al., ICCV 2025, arXiv:2503.12649",
     .formula = R"(theta   starts as theta_s = theta_0 + scale * sum_i tau_i
s       = argmin <dL/dtheta, s> over theta_1, ..., theta_N and theta_s,   L the mean loss of labelled training examples
theta  <- theta + step * 2 / (t + 2) * (s - theta),   t = 0, 1, ...)",
     .family = Family::kTaskVector,
     .grain = Grain::kWholeModel,
     .needs = {Need::kPretrained, Need::kTrainInputs, Need::kTrainLabels, Need::kGradients},
     .cost = Cost::kTraining},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::frank_wolfe
