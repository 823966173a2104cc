#include "fusion/whole_model/adaptation.h"

#include <algorithm>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/add.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/sub.h>
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
        {in.kind(task), in.test_inputs(task), derive_key(in.seed(), purpose + "/" + task), 0, {}, 0});
  }
}

Inputs TestStream::next_of(Task& task) {
  std::vector<int64_t> chosen;
  while (static_cast<int64_t>(chosen.size()) < batch_) {
    if (task.position == task.order.size()) {
      task.order = permutation(task.key, task.epoch++, task.inputs.size());
      task.position = 0;
    }
    chosen.push_back(task.order[task.position++]);
  }
  return task.inputs.select(at::tensor(chosen, at::kLong));
}

TestStream::Step TestStream::next(const Asker& output) {
  std::vector<Inputs> batches;
  for (Task& task : tasks_) {
    batches.push_back(next_of(task).to(network_.device));
  }
  Step step{network_.ready(concatenate_inputs(batches)), {}};
  bool are_completed = false;
  for (size_t i = 0; i < tasks_.size(); ++i) {
    const TaskKind& kind = tasks_[i].kind;
    Inputs of_task = step.inputs.rows(static_cast<int64_t>(i) * batch_, batch_);
    of_task.choices = batches[i].choices;
    of_task.choice_lengths = batches[i].choice_lengths;
    step.by_task.push_back(kind.has_tokens() ? kind.completed(of_task, output) : of_task);
    are_completed = are_completed || kind.has_tokens();
  }
  if (are_completed) {
    step.inputs = concatenate_inputs(step.by_task);
  }
  return step;
}

at::Tensor entropy_loss(const FusionInput& in, const Weights& model, const std::vector<Inputs>& by_task,
                        const at::Tensor& features) {
  at::Tensor loss;
  int64_t row = 0;
  for (size_t i = 0; i < in.tasks().size(); ++i) {
    const std::string& task = in.tasks()[i];
    const int64_t count = by_task[i].size();
    const at::Tensor output = in.network().read(model, features.narrow(0, row, count), task);
    const at::Tensor entropy = mean_entropy(in.kind(task).log_probabilities(output, by_task[i]));
    loss = i == 0 ? entropy : loss + entropy;
    row += count;
  }
  return loss;
}

namespace {

// The task vectors of a tensor, as rows. On a GPU, where making them anew in each step takes longer than the passes
// through a model, they are kept as long as they are not too many; else the experts are not held a second time.
class TaskVectorRows {
 public:
  explicit TaskVectorRows(const FusionInput& in) : in_(in) {
    int64_t largest = 0;
    for (const TensorInfo& info : in.tensors()) {
      largest = std::max(largest, info.numel());
    }
    const int64_t bytes = experts() * in.num_elements() * static_cast<int64_t>(sizeof(float));
    keeps_ = !in.device().is_cpu() && bytes <= kMostKeptBytes;
    storage_ = keeps_ ? at::Tensor() : at::empty({experts() * largest}, options());
  }

  // [experts, elements]; valid until the next call.
  at::Tensor of(const std::string& name) {
    if (!keeps_) {
      return make(name, storage_);
    }
    const auto kept = kept_.find(name);
    return kept != kept_.end()
               ? kept->second
               : kept_[name] = make(name, at::empty({experts() * in_.base().at(name).numel()}, options()));
  }
  // Those of this tensor will not be asked for again.
  void forget(const std::string& name) { kept_.erase(name); }

 private:
  static constexpr int64_t kMostKeptBytes = int64_t{16} << 30;

  int64_t experts() const { return static_cast<int64_t>(in_.num_experts()); }
  at::TensorOptions options() const { return at::TensorOptions(in_.device()).dtype(at::kFloat); }

  at::Tensor make(const std::string& name, const at::Tensor& storage) const {
    const at::Tensor base = in_.base().at(name).reshape({-1});
    const at::Tensor rows = storage.narrow(0, 0, experts() * base.numel()).view({experts(), base.numel()});
    for (int64_t i = 0; i < experts(); ++i) {
      at::Tensor row = rows.select(0, i);
      at::sub_out(row, in_.expert(static_cast<size_t>(i)).at(name).reshape({-1}), base);
    }
    return rows;
  }

  const FusionInput& in_;
  bool keeps_ = false;
  at::Tensor storage_;  // for the largest tensor
  Weights kept_;
};

// The merged weights as a function of the coefficients: of the tensors that some expert changed. The others have no
// coefficient that matters.
class Adapted {
 public:
  Adapted(const FusionInput& in, const AdaptationOptions& options, Granularity granularity)
      : in_(in), options_(options), granularity_(granularity), rows_(in), weights_(in.base()) {
    for (const TensorInfo& info : in.tensors()) {
      if (rows_.of(info.name).ne(0).any().item<bool>()) {
        moving_.push_back(info.name);
      } else {
        rows_.forget(info.name);
      }
    }
  }

  bool can_move() const { return !moving_.empty(); }
  // Of the coefficients [experts, columns].
  int64_t columns() const {
    return granularity_ == Granularity::kTensor && can_move() ? static_cast<int64_t>(moving_.size()) : 1;
  }
  const Weights& weights() const { return weights_; }

  // theta = base + lambda tau, as fresh leaves that collect gradients.
  void merge(const at::Tensor& lambdas) {
    for (size_t t = 0; t < moving_.size(); ++t) {
      const at::Tensor lambda = lambdas.select(1, column(t));
      const at::Tensor used = options_.clamp ? lambda.clamp(0, 1) : lambda;
      const at::Tensor& base = in_.base().at(moving_[t]);
      const at::Tensor merged = base.reshape({-1}) + at::matmul(used, rows_.of(moving_[t]));
      weights_[moving_[t]] = merged.view(base.sizes()).detach().requires_grad_(true);
    }
  }

  // dL/dlambda from dL/dtheta: inner products with the task vectors; zero where the clamp is active.
  at::Tensor coefficient_gradient(const at::Tensor& lambdas) {
    at::Tensor gradient = at::zeros_like(lambdas);
    for (size_t t = 0; t < moving_.size(); ++t) {
      const at::Tensor& of_theta = weights_.at(moving_[t]).grad();
      if (of_theta.defined()) {
        gradient.select(1, column(t)).add_(at::matmul(rows_.of(moving_[t]), of_theta.reshape({-1})));
      }
    }
    return options_.clamp ? gradient * (lambdas >= 0) * (lambdas <= 1) : gradient;
  }

  // The weights, without what gradients need.
  Weights take() {
    for (const std::string& name : moving_) {
      weights_[name] = weights_[name].detach();
    }
    return std::move(weights_);
  }

 private:
  int64_t column(size_t tensor) const {
    return granularity_ == Granularity::kTask ? 0 : static_cast<int64_t>(tensor);
  }

  const FusionInput& in_;
  const AdaptationOptions& options_;
  Granularity granularity_;
  TaskVectorRows rows_;
  std::vector<std::string> moving_;
  Weights weights_;
};

std::string coefficient_text(const FusionInput& in, const at::Tensor& lambdas) {
  const at::Tensor means = lambdas.to(at::kDouble).mean(1).cpu();
  std::vector<std::string> parts;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    parts.push_back(in.expert_names()[i] + "=" + number_text(means[static_cast<int64_t>(i)].item<double>()));
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
          .demands = {Demand::kDistribution},
          .random = true,
          .cost = Cost::kTraining};
}

FusedModel adapt_coefficients(const FusionInput& in, const AdaptationOptions& options,
                              Granularity granularity) {
  Adapted adapted(in, options, granularity);
  const int64_t steps =
      adapted.can_move() ? options.steps : 0;  // where no expert moved, nothing can be learnt
  at::Tensor lambdas = at::full({static_cast<int64_t>(in.num_experts()), adapted.columns()}, options.init,
                                at::TensorOptions(in.device()).dtype(at::kFloat));
  TestStream stream(in, options.batch, "adamerging");
  const Asker output = [&](const Inputs& ready, Memory* memory) {
    return in.network().output(adapted.weights(), ready, in.tasks().front(), {.memory = memory});
  };
  Adam adam(lambdas, options.lr);
  for (int64_t step = 0; step < steps; ++step) {
    {
      const at::NoGradGuard no_grad;
      adapted.merge(lambdas);
    }
    {
      const at::AutoGradMode with_gradients(true);
      const PrecisionScope scope(in.network().precision);
      const TestStream::Step next = stream.next(output);
      const at::Tensor features = in.network().features(adapted.weights(), next.inputs);
      entropy_loss(in, adapted.weights(), next.by_task, features).backward();
    }
    const at::NoGradGuard no_grad;
    adam.step(adapted.coefficient_gradient(lambdas));
    in.tick();
  }
  const at::NoGradGuard no_grad;
  adapted.merge(lambdas);
  FusedModel fused = one_model(adapted.take());
  fused.facts["coefficients"] = coefficient_text(in, lambdas);
  return fused;
}

}  // namespace fusegrid
