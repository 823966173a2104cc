// Frank-Wolfe merging, hard: steps towards the expert that the gradient of the labelled loss asks for.
//
// Source:  Chen et al., "FW-Merging: Scaling Model Merging with Frank-Wolfe Optimization", ICCV 2025, arXiv:2503.12649.
// Differs: the linear problem is solved as the paper states it, by inner products of the gradient with the models; the
//          authors' code sums cosines of the gradient with the weights of each tensor, which depend on the base. The
//          steps are made in the coefficients of the task vectors, which say the same: all models are base plus such a
//          sum. Every step sees the same examples. The paper's soft variant runs AdaMerging inside of each step, and is
//          left out.
// Cost:    `steps` forward and backward passes of batch examples per task.

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/matmul.h>

#include "core/concatenate.h"
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

// The examples of each task, ready for the network.
std::vector<Examples> examples_of_tasks(const FusionInput& in, int64_t count) {
  std::vector<Examples> all;
  for (const std::string& task : in.tasks()) {
    Examples examples = in.train_examples(task, count).to(in.network().device);
    examples.inputs = in.network().ready(examples.inputs);
    all.push_back(std::move(examples));
  }
  return all;
}

// Of the mean over tasks of the loss.
void backward_of_loss(const FusionInput& in, const Weights& weights, const std::vector<Examples>& examples) {
  const at::AutoGradMode with_gradients(true);
  const PrecisionScope scope(in.network().precision);
  for (size_t i = 0; i < examples.size(); ++i) {
    const std::string& task = in.tasks()[i];
    const TaskKind& kind = in.kind(task);
    const at::Tensor output = in.network().output(weights, kind.taught(examples[i]), task);
    (kind.losses(output, examples[i]).mean() / static_cast<double>(examples.size())).backward();
  }
}

// The models that a step may go towards, by their coefficients [models, experts]: the experts and the start.
at::Tensor vertices(const at::Tensor& start) {
  return concatenate({at::eye(start.size(0), start.options()), start.select(1, 0).unsqueeze(0)});
}

// Those of the best vertex for each column: [experts, columns]. gradient: dL/dlambda, likewise.
at::Tensor best_vertices(const at::Tensor& all, const at::Tensor& gradient) {
  return all.index_select(0, at::matmul(all, gradient).argmin(0)).t();
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  CoefficientMerge merged(in, options.coefficients == "task_wise" ? Granularity::kTask : Granularity::kTensor,
                          false);
  at::Tensor lambdas = merged.coefficients(options.scale);
  const at::Tensor all = vertices(lambdas);
  const std::vector<Examples> examples = examples_of_tasks(in, options.batch);
  for (int64_t step = 0; step < options.steps && !merged.moving().empty(); ++step) {
    merged.merge(lambdas);
    backward_of_loss(in, merged.weights(), examples);
    const double length = options.step * 2 / static_cast<double>(step + 2);
    lambdas = lambdas + (best_vertices(all, merged.gradient(lambdas)) - lambdas) * length;
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
