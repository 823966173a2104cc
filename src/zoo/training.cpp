#include "zoo/training.h"

#include <algorithm>
#include <map>

#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/autograd.h>

#include "core/descent.h"
#include "core/errors.h"
#include "core/philox.h"
#include "core/role.h"
#include "models/channel_norm.h"
#include "models/feeder.h"
#include "zoo/adamw.h"

namespace fusegrid {
namespace {

constexpr double kBatchMomentum = 0.1;  // what a step's batch counts in the running statistics of batch norms

// The gradients of some groups, of the gradients of all of them in their order.
std::vector<at::Tensor> gradients_of(const std::vector<at::Tensor>& gradients,
                                     const std::vector<TrainedGroup>& groups,
                                     const std::function<bool(const TrainedGroup&)>& chosen) {
  std::vector<at::Tensor> some;
  auto begin = gradients.begin();
  for (const TrainedGroup& group : groups) {
    const auto end = begin + static_cast<std::ptrdiff_t>(group.tensors.size());
    if (chosen(group)) {
      some.insert(some.end(), begin, end);
    }
    begin = end;
  }
  return some;
}

// One step of a group's optimiser, which it holds.
using Step = std::function<void(const std::vector<at::Tensor>& gradients, double rate)>;

Step step_of(const TrainedGroup& group, const Schedule& schedule) {
  if (schedule.optimiser == Optimiser::kSgd) {
    FUSEGRID_ASSERT(!group.relative, "SGD has no relative learning rates");
    return [sgd = Sgd(group.tensors, group.weight_decay, schedule.beta1)](
               const auto& gradients, double rate) mutable { sgd.step(gradients, rate); };
  }
  return [adamw = AdamW(group.tensors, group.weight_decay, schedule.beta1, schedule.beta2, group.relative)](
             const auto& gradients, double rate) mutable { adamw.step(gradients, rate); };
}

// Rows of a task's batch that go through the model together.
struct Part {
  const TrainedTask* task;
  Examples examples;
  double share;  // of a row of the task in the loss
};

// The batches of a step by their width. On a CPU tokens take the time, so that rows of one width go together and few
// are filled up by much; on a GPU passes do.
std::map<int64_t, std::vector<Part>> parts_by_width(const std::vector<TrainedTask>& tasks, int64_t step) {
  std::map<int64_t, std::vector<Part>> parts;
  for (const TrainedTask& task : tasks) {
    const Examples batch = task.batch(step);
    const double share = 1.0 / static_cast<double>(batch.inputs.size()) / static_cast<double>(tasks.size());
    const at::Tensor& tokens = batch.inputs.tokens;
    if (!tokens.defined() || !tokens.is_cpu()) {
      parts[tokens.defined() ? tokens.size(1) : 0].push_back({&task, batch, share});
      continue;
    }
    for_each_batch(batch.inputs, batch.inputs.size(), [&](const Inputs& rows, const at::Tensor& places) {
      parts[rows.tokens.size(1)].push_back({&task, batch.at(places, rows), share});
    });
  }
  return parts;
}

// The mean over tasks of the mean loss of their batches.
at::Tensor mean_loss(const Network& network, const Weights& weights, const std::vector<TrainedTask>& tasks,
                     int64_t step, const Pass& pass) {
  at::Tensor loss;
  for (const auto& [width, parts] : parts_by_width(tasks, step)) {
    std::vector<Inputs> inputs;
    for (const Part& part : parts) {
      inputs.push_back(part.task->kind->taught(part.examples));
    }
    const at::Tensor features = network.features(weights, concatenate_inputs(inputs), pass);
    int64_t row = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
      const Part& part = parts[i];
      const int64_t count = inputs[i].size();
      const at::Tensor output = network.read(weights, features.narrow(0, row, count), part.task->name);
      const at::Tensor of_part = part.task->kind->losses(output, part.examples).sum() * part.share;
      loss = loss.defined() ? loss + of_part : of_part;
      row += count;
    }
  }
  return loss;
}

}  // namespace

Schedule warmed_schedule(int64_t steps, double learning_rate, double beta2) {
  return {.steps = steps,
          .learning_rate = learning_rate,
          .warmup = std::max<int64_t>(1, steps / 10),
          .beta2 = beta2};
}

std::vector<TrainedGroup> decayed_groups(const Weights& weights, double weight_decay, double rate_factor) {
  TrainedGroup decayed{.tensors = {}, .rate_factor = rate_factor, .weight_decay = weight_decay};
  TrainedGroup plain{.tensors = {}, .rate_factor = rate_factor};
  for (const auto& [name, tensor] : weights) {
    if (tensor.requires_grad()) {
      (tensor.dim() > 1 ? decayed : plain).tensors.push_back(tensor);
    }
  }
  return {decayed, plain};
}

void minimise(const std::function<at::Tensor(int64_t step)>& loss, const std::vector<TrainedGroup>& groups,
              const Schedule& schedule, const OnStep& on_step) {
  std::vector<at::Tensor> trained;
  std::vector<Step> steps;
  for (const TrainedGroup& group : groups) {
    trained.insert(trained.end(), group.tensors.begin(), group.tensors.end());
    steps.push_back(step_of(group, schedule));
  }
  for (int64_t step = 0; step < schedule.steps; ++step) {
    if (on_step) {
      on_step(step);
    }
    const auto gradients = torch::autograd::grad({loss(step)}, trained);
    if (schedule.clip) {
      clip_gradients(gradients_of(gradients, groups, [](const auto& group) { return group.clipped; }),
                     *schedule.clip);
    }
    const double rate = schedule.rate
                            ? schedule.rate(step)
                            : learning_rate_at(step, schedule.steps, schedule.learning_rate, schedule.warmup);
    for (size_t i = 0; i < groups.size(); ++i) {
      const auto of_group =
          gradients_of(gradients, groups, [&](const auto& group) { return &group == &groups[i]; });
      steps[i](of_group, rate * groups[i].rate_factor);
    }
  }
}

at::Tensor normal_tensor(const std::vector<int64_t>& shape, double deviation, uint64_t key) {
  int64_t count = 1;
  for (const int64_t size : shape) {
    count *= size;
  }
  return normal(key, 0, 0, count).mul_(deviation).view(shape);
}

std::set<std::string> layer_matrices(const Architecture& architecture) {
  std::set<std::string> names;
  for (const Layer& layer : architecture.layers()) {
    names.insert(layer.weight);
  }
  return names;
}

std::set<std::string> names_of(const Weights& weights) {
  std::set<std::string> names;
  for (const auto& [name, tensor] : weights) {
    names.insert(name);
  }
  return names;
}

Weights detached(const Weights& weights) {
  Weights plain;
  for (const auto& [name, tensor] : weights) {
    plain.emplace(name, tensor.detach());
  }
  return plain;
}

Trainee make_trainee(const Weights& base, const std::set<std::string>& trained) {
  Trainee trainee;
  for (const auto& [name, tensor] : base) {
    at::Tensor copy = tensor.detach();
    if (is_running_statistic(name, tensor)) {
      copy = copy.clone();
    } else if (trained.contains(name)) {
      copy = copy.clone().requires_grad_(true);
      trainee.trained.push_back(copy);
    }
    trainee.weights.emplace(name, copy);
  }
  return trainee;
}

Pass with_batch_statistics(Pass pass, Weights& weights) {
  pass.batch_statistics = [&weights](const std::string& norm, const at::Tensor& mean,
                                     const at::Tensor& variance) {
    weights.at(running_mean_of(norm)).lerp_(mean, kBatchMomentum);
    weights.at(running_variance_of(norm)).lerp_(variance, kBatchMomentum);
  };
  return pass;
}

Weights train(const Network& network, const Trainee& trainee, const std::vector<TrainedTask>& tasks,
              const std::vector<TrainedGroup>& groups, const Schedule& schedule, const OnStep& on_step,
              const Pass& pass) {
  Weights weights = trainee.weights;
  const Pass training = with_batch_statistics(pass, weights);
  minimise([&](int64_t step) { return mean_loss(network, weights, tasks, step, training); }, groups, schedule,
           on_step);
  return detached(weights);
}

Answers evaluate(const Network& network, const Weights& weights, const std::string& task,
                 const TaskKind& kind, const Examples& examples, const OnStep& on_batch) {
  int64_t batch = 0;
  return kind.answer(examples,
                     {.feed = feed_of(network), .output = asker_of(network, weights, task), .on_batch = [&] {
                        if (on_batch) {
                          on_batch(batch);
                        }
                        ++batch;
                      }});
}

}  // namespace fusegrid
