#include "fusion/whole_model/adaptation.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/add.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>

#include "core/concatenate.h"
#include "core/philox.h"
#include "core/text.h"
#include "fusion/whole_model/adam.h"

namespace fusegrid {

TestStream::TestStream(const FusionInput& in, int64_t batch, const std::string& purpose)
    : network_(in.network()), batch_(batch) {
  for (const std::string& task : in.tasks()) {
    tasks_.push_back(
        {in.test_inputs(task).to(in.device()), derive_key(in.seed(), purpose + "/" + task), 0, {}, 0});
  }
}

at::Tensor TestStream::next_of(Task& task) {
  std::vector<int64_t> chosen;
  while (static_cast<int64_t>(chosen.size()) < batch_) {
    if (task.position == task.order.size()) {
      task.order = permutation(task.key, task.epoch++, task.images.size(0));
      task.position = 0;
    }
    chosen.push_back(task.order[task.position++]);
  }
  return task.images.index_select(0, at::tensor(chosen, at::kLong).to(task.images.device()));
}

at::Tensor TestStream::next() {
  std::vector<at::Tensor> batches;
  for (Task& task : tasks_) {
    batches.push_back(next_of(task));
  }
  return network_.pixels(concatenate(batches));
}

at::Tensor entropy_loss(const FusionInput& in, const at::Tensor& features, int64_t batch) {
  at::Tensor loss;
  for (size_t i = 0; i < in.tasks().size(); ++i) {
    const at::Tensor of_task = features.narrow(0, static_cast<int64_t>(i) * batch, batch);
    const at::Tensor log_p = at::log_softmax(in.network().logits(of_task, in.tasks()[i]), 1);
    const at::Tensor entropy = -(log_p.exp() * log_p).sum(1).mean();
    loss = i == 0 ? entropy : loss + entropy;
  }
  return loss;
}

namespace {

// The tensors that any expert changed, with their task vectors as rows; the others have no coefficient that
// matters.
struct MovingTensor {
  std::string name;
  at::Tensor base;  // [elements]
  at::Tensor taus;  // [experts, elements]
  at::Tensor lambda;
  at::Tensor leaf;  // the merged tensor in its own shape, collects the gradient
};

std::vector<MovingTensor> moving_tensors(const FusionInput& in) {
  std::vector<MovingTensor> moving;
  for (const TensorInfo& info : in.tensors()) {
    const at::Tensor base = in.base().at(info.name).reshape({-1});
    std::vector<at::Tensor> taus;
    for (size_t i = 0; i < in.num_experts(); ++i) {
      taus.push_back(in.expert(i).at(info.name).reshape({-1}) - base);
    }
    const at::Tensor rows = at::stack(taus);
    if (rows.ne(0).any().item<bool>()) {
      moving.push_back({info.name, base, rows, {}, {}});
    }
  }
  return moving;
}

// Writes theta = base + lambda tau into `weights`, as fresh leaves.
void merge_into(Weights& weights, const FusionInput& in, std::vector<MovingTensor>& tensors,
                const at::Tensor& lambdas, const AdaptationOptions& options, Granularity granularity) {
  for (size_t t = 0; t < tensors.size(); ++t) {
    MovingTensor& tensor = tensors[t];
    tensor.lambda = lambdas.select(1, granularity == Granularity::kTask ? 0 : static_cast<int64_t>(t));
    const at::Tensor used = options.clamp ? tensor.lambda.clamp(0, 1) : tensor.lambda;
    const at::Tensor merged = tensor.base + at::matmul(used, tensor.taus);
    tensor.leaf = merged.view(in.base().at(tensor.name).sizes()).detach().requires_grad_(true);
    weights[tensor.name] = tensor.leaf;
  }
}

// dL/dlambda from dL/dtheta: inner products with the task vectors; zero where the clamp is active.
at::Tensor coefficient_gradient(const std::vector<MovingTensor>& tensors, const at::Tensor& lambdas,
                                const AdaptationOptions& options, Granularity granularity) {
  at::Tensor gradient = at::zeros_like(lambdas);
  for (size_t t = 0; t < tensors.size(); ++t) {
    const at::Tensor& of_theta = tensors[t].leaf.grad();
    if (of_theta.defined()) {
      const at::Tensor column = at::matmul(tensors[t].taus, of_theta.reshape({-1}));
      gradient.select(1, granularity == Granularity::kTask ? 0 : static_cast<int64_t>(t)).add_(column);
    }
  }
  return options.clamp ? gradient * (lambdas >= 0) * (lambdas <= 1) : gradient;
}

std::string coefficient_text(const FusionInput& in, const at::Tensor& lambdas) {
  const at::Tensor means = lambdas.to(at::kDouble).mean(1).cpu();
  std::vector<std::string> parts;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    parts.push_back(in.tasks()[i] + "=" + number_text(means[static_cast<int64_t>(i)].item<double>()));
  }
  return join(parts, " ");
}

}  // namespace

MethodCard adamerging_card(const std::string& name, const std::string& title,
                           const std::string& coefficient) {
  return {.name = name,
          .title = title,
          .paper = "Yang et al., ICLR 2024, arXiv:2310.02575",
          .formula = "theta^l = theta_0^l + sum_i " + coefficient +
                     " tau_i^l,   lambda minimises the entropy of the predictions",
          .family = Family::kTestTime,
          .grain = Grain::kWholeModel,
          .needs = {Need::kPretrained, Need::kTestInputs, Need::kGradients},
          .random = true,
          .cost = Cost::kTraining};
}

FusedModel adapt_coefficients(const FusionInput& in, const AdaptationOptions& options,
                              Granularity granularity) {
  std::vector<MovingTensor> tensors = moving_tensors(in);
  // where no expert moved, nothing can be learnt: one column, no steps
  const bool per_tensor = granularity == Granularity::kTensor && !tensors.empty();
  const int64_t columns = per_tensor ? static_cast<int64_t>(tensors.size()) : 1;
  const int64_t steps = tensors.empty() ? 0 : options.steps;
  at::Tensor lambdas = at::full({static_cast<int64_t>(in.num_experts()), columns}, options.init,
                                at::TensorOptions(in.device()).dtype(at::kFloat));
  Weights weights = in.base();
  TestStream stream(in, options.batch, "adamerging");
  Adam adam(lambdas, options.lr);
  for (int64_t step = 0; step < steps; ++step) {
    {
      const at::NoGradGuard no_grad;
      merge_into(weights, in, tensors, lambdas, options, granularity);
    }
    {
      const at::AutoGradMode with_gradients(true);
      const at::Tensor features = in.network().architecture->features(weights, stream.next());
      entropy_loss(in, features, options.batch).backward();
    }
    const at::NoGradGuard no_grad;
    adam.step(coefficient_gradient(tensors, lambdas, options, granularity));
    in.tick();
  }
  const at::NoGradGuard no_grad;
  merge_into(weights, in, tensors, lambdas, options, granularity);
  for (MovingTensor& tensor : tensors) {
    weights[tensor.name] = tensor.leaf.detach();
  }
  FusedModel fused = one_model(std::move(weights));
  fused.facts["coefficients"] = coefficient_text(in, lambdas);
  return fused;
}

}  // namespace fusegrid
