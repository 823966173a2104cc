#include "zoo/training.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>

#include "core/concatenate.h"
#include "core/errors.h"
#include "core/philox.h"
#include "models/unit_rows.h"
#include "zoo/adamw.h"

namespace fusegrid {
namespace {

const double kLargestLogitScale = std::log(100.0);

bool ends_with(const std::string& text, const std::string& ending) {
  return text.size() >= ending.size() &&
         text.compare(text.size() - ending.size(), ending.size(), ending) == 0;
}

at::Tensor normal_tensor(const std::vector<int64_t>& shape, double deviation, uint64_t seed,
                         const std::string& name) {
  int64_t count = 1;
  for (const int64_t size : shape) {
    count *= size;
  }
  return normal(derive_key(seed, "pretrain/init/" + name), 0, 0, count).mul_(deviation).view(shape);
}

// One tensor's first value, by the role that its name tells: matrices have standard deviation fan_in^-1/2,
// the two that write to the residual stream are divided by sqrt(2 * blocks); position embeddings are large
// (0.5), so that tokens differ from the start.
at::Tensor initial_tensor(const TensorInfo& info, int64_t blocks, uint64_t seed) {
  if (ends_with(info.name, ".bias")) {
    return at::zeros(info.shape);
  }
  if (ends_with(info.name, "class_embedding")) {
    return normal_tensor(info.shape, 0.02, seed, info.name);
  }
  if (ends_with(info.name, "position_embedding.weight")) {
    return normal_tensor(info.shape, 0.5, seed, info.name);
  }
  if (info.shape.size() == 1) {
    return at::ones(info.shape);  // scale of a layer norm
  }
  const double fan_in = static_cast<double>(info.numel()) / static_cast<double>(info.shape.front());
  const bool residual = ends_with(info.name, "out_proj.weight") || ends_with(info.name, "fc2.weight");
  const double divisor = residual ? std::sqrt(2.0 * static_cast<double>(blocks)) : 1;
  return normal_tensor(info.shape, 1 / std::sqrt(fan_in) / divisor, seed, info.name);
}

Weights initial_weights(const Architecture& architecture, uint64_t seed, at::Device device) {
  Weights weights;
  for (const TensorInfo& info : architecture.parameters()) {
    weights.emplace(info.name, initial_tensor(info, architecture.num_blocks(), seed).to(device));
  }
  return weights;
}

int64_t warmup_steps(int64_t steps, int64_t divisor, int64_t least) {
  return std::max(least, steps / divisor);
}

// What pretraining trains besides the model, and the two groups of the optimiser.
struct PretrainState {
  Weights weights;
  at::Tensor table, scale;
  std::vector<at::Tensor> decayed, plain;
  size_t plain_of_model = 0;  // the first of `plain`; the table and the scale follow

  std::vector<at::Tensor> all() const {
    std::vector<at::Tensor> tensors = decayed;
    tensors.insert(tensors.end(), plain.begin(), plain.end());
    return tensors;
  }
};

PretrainState make_state(const Recipe& recipe, const Architecture& architecture, int64_t classes,
                         uint64_t seed, at::Device device) {
  PretrainState state;
  state.weights = initial_weights(architecture, seed, device);
  state.table = normal_tensor({classes, recipe.width}, 0.1, seed, "class_table").to(device);
  state.scale = at::full({}, std::log(recipe.initial_scale), at::kFloat).to(device);
  for (auto& [name, tensor] : state.weights) {
    const bool decays = tensor.dim() > 1 && !ends_with(name, "position_embedding.weight");
    (decays ? state.decayed : state.plain).push_back(tensor);
  }
  state.plain_of_model = state.plain.size();
  state.plain.push_back(state.table);
  state.plain.push_back(state.scale);
  for (const at::Tensor& tensor : state.all()) {
    tensor.requires_grad_(true);
  }
  return state;
}

std::vector<at::Tensor> pretrain_gradients(const Architecture& architecture, const PretrainState& state,
                                           const Batch& batch) {
  const at::Tensor features = unit_rows(architecture.features(state.weights, batch.pixels));
  const at::Tensor scale = state.scale.clamp_max(kLargestLogitScale).exp();
  const at::Tensor logits = scale * at::linear(features, unit_rows(state.table));
  return torch::autograd::grad({at::cross_entropy_loss(logits, batch.labels)}, state.all());
}

PretrainedBase finish(const PretrainState& state, const PoolBatches& batches,
                      const std::vector<LabelledTask>& tasks) {
  PretrainedBase base;
  for (const auto& [name, tensor] : state.weights) {
    base.weights.emplace(name, tensor.detach());
  }
  const at::Tensor table = unit_rows(state.table.detach());
  for (size_t i = 0; i < tasks.size(); ++i) {
    base.rows.emplace(tasks[i].name, table.narrow(0, batches.first_label(i), tasks[i].classes).contiguous());
  }
  base.logit_scale = std::min(state.scale.item<double>(), kLargestLogitScale);
  return base;
}

// The copy of a base whose linear layers' matrices are trained.
struct Trainee {
  Weights weights;
  std::vector<at::Tensor> trained;
};

Trainee make_trainee(const Network& network, const Weights& base) {
  Trainee trainee;
  std::set<std::string> names;
  for (const LinearLayer& layer : network.architecture->linear_layers()) {
    names.insert(layer.name + ".weight");
  }
  for (const auto& [name, tensor] : base) {
    const bool trains = names.contains(name);
    at::Tensor copy = tensor.detach().to(network.device, at::kFloat, /*non_blocking=*/false, /*copy=*/trains);
    if (trains) {
      copy.requires_grad_(true);
      trainee.trained.push_back(copy);
    }
    trainee.weights.emplace(name, copy);
  }
  return trainee;
}

// Trains `trainee` on the mean of the tasks' losses. Each step's batches go through the model as one.
Weights train(const Recipe& recipe, const Network& network, Trainee trainee, std::vector<TaskBatches> batches,
              const std::vector<std::string>& tasks, int64_t steps, const OnStep& on_step) {
  AdamW optimiser(trainee.trained, /*weight_decay=*/0, 0.9, 0.999);
  const int64_t warmup = warmup_steps(steps, 10, 10);
  for (int64_t step = 0; step < steps; ++step) {
    if (on_step) {
      on_step(step);
    }
    std::vector<at::Tensor> pixels, labels;
    for (TaskBatches& of_task : batches) {
      Batch batch = of_task.at(step);
      pixels.push_back(batch.pixels);
      labels.push_back(batch.labels);
    }
    const at::Tensor features = network.architecture->features(trainee.weights, concatenate(pixels));
    at::Tensor loss;
    for (size_t i = 0, row = 0; i < tasks.size(); ++i) {
      const int64_t count = labels[i].size(0);
      const at::Tensor logits =
          network.logits(features.narrow(0, static_cast<int64_t>(row), count), tasks[i]);
      const at::Tensor of_task =
          at::cross_entropy_loss(logits, labels[i]) / static_cast<double>(tasks.size());
      loss = loss.defined() ? loss + of_task : of_task;
      row += static_cast<size_t>(count);
    }
    optimiser.step(torch::autograd::grad({loss}, trainee.trained),
                   learning_rate_at(step, steps, recipe.expert_lr, warmup));
  }
  for (auto& [name, tensor] : trainee.weights) {
    tensor = tensor.detach();
  }
  return trainee.weights;
}

}  // namespace

PretrainedBase pretrain(const Recipe& recipe, const std::vector<PoolSource>& pool,
                        const std::vector<LabelledTask>& tasks, uint64_t seed, at::Device device,
                        const OnStep& on_step) {
  const auto architecture = make_architecture(recipe.architecture_config());
  const PoolBatches batches(pool, tasks,
                            {.batch = recipe.base_batch,
                             .steps = recipe.base_steps,
                             .image_size = recipe.image_size,
                             .shots = recipe.shots,
                             .shots_share = recipe.shots_share,
                             .colour_share = recipe.colour_share,
                             .seed = seed,
                             .device = device});
  PretrainState state = make_state(recipe, *architecture, batches.classes(), seed, device);
  AdamW with_decay(state.decayed, recipe.base_weight_decay, 0.9, 0.98);
  AdamW without_decay(state.plain, 0, 0.9, 0.98);
  const auto decayed = static_cast<std::ptrdiff_t>(state.decayed.size());
  const int64_t warmup = warmup_steps(recipe.base_steps, 20, 50);
  for (int64_t step = 0; step < recipe.base_steps; ++step) {
    if (on_step) {
      on_step(step);
    }
    const auto gradients = pretrain_gradients(*architecture, state, batches.at(step));
    const auto middle = gradients.begin() + decayed;
    // the table and the scale are not clipped with the model: their gradients are of another size
    clip_gradients({gradients.begin(), middle + static_cast<std::ptrdiff_t>(state.plain_of_model)}, 1.0);
    const double rate = learning_rate_at(step, recipe.base_steps, recipe.base_lr, warmup);
    with_decay.step({gradients.begin(), middle}, rate);
    without_decay.step({middle, gradients.end()}, rate);
  }
  return finish(state, batches, tasks);
}

Weights fine_tune(const Recipe& recipe, const Network& network, const Weights& base, const LabelledTask& task,
                  uint64_t seed, const OnStep& on_step) {
  std::vector<TaskBatches> batches;
  batches.emplace_back(task, recipe.expert_batch, recipe.max_shift, seed, network.device);
  return train(recipe, network, make_trainee(network, base), std::move(batches), {task.name},
               recipe.expert_steps, on_step);
}

Weights train_multitask(const Recipe& recipe, const Network& network, const Weights& base,
                        const std::vector<LabelledTask>& tasks, uint64_t seed, const OnStep& on_step) {
  std::vector<TaskBatches> batches;
  std::vector<std::string> names;
  for (const LabelledTask& task : tasks) {
    batches.emplace_back(task, recipe.multitask_batch, recipe.max_shift, seed, network.device);
    names.push_back(task.name);
  }
  return train(recipe, network, make_trainee(network, base), std::move(batches), names,
               recipe.multitask_steps, on_step);
}

Answers evaluate(const Network& network, const Weights& weights, const std::string& task, const Split& split,
                 const OnStep& on_batch) {
  constexpr int64_t kBatch = 256;
  int64_t batch = 0;
  return answer(
      network, split.images, split.labels, kBatch,
      [&](const at::Tensor& pixels) {
        return network.logits(network.architecture->features(weights, pixels), task);
      },
      [&] {
        if (on_batch) {
          on_batch(batch);
        }
        ++batch;
      });
}

}  // namespace fusegrid
