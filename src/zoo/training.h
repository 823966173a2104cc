// What recipes train with. Training is a pure function of its arguments: on one kind of device, with one thread count,
// the same arguments give the same bits. Weights are float32.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/weights.h"
#include "models/network.h"
#include "tasks/kind.h"

namespace fusegrid {

// Called before each step: tells that training is alive.
using OnStep = std::function<void(int64_t step)>;

// Tensors that are trained alike: leaves that require gradients, all of one device.
struct TrainedGroup {
  std::vector<at::Tensor> tensors;
  double rate_factor = 1;  // of the schedule's learning rate
  bool relative = false;   // the learning rate is in units of each tensor's root mean square
  double weight_decay = 0;
  bool clipped = true;  // where the schedule clips gradients
};

enum class Optimiser {
  kAdamW,
  kSgd,  // with Nesterov momentum beta1; weight decay is a part of the gradient, and no group is relative
};

// A warm-up and a cosine that ends at zero.
struct Schedule {
  int64_t steps = 1;
  double learning_rate = 0;
  int64_t warmup = 1;  // steps
  Optimiser optimiser = Optimiser::kAdamW;
  std::function<double(int64_t step)> rate = {};  // the learning rate of each step, instead of them
  double beta1 = 0.9;
  double beta2 = 0.999;
  std::optional<double> clip = {};  // largest norm of the gradients of all clipped groups together
};

// Whose first tenth is the warm-up.
Schedule warmed_schedule(int64_t steps, double learning_rate, double beta2 = 0.999);

// The leaves among the weights, of which matrices and kernels decay.
std::vector<TrainedGroup> decayed_groups(const Weights& weights, double weight_decay, double rate_factor = 1);

// Changes the tensors of the groups in place so that the loss of the steps falls.
void minimise(const std::function<at::Tensor(int64_t step)>& loss, const std::vector<TrainedGroup>& groups,
              const Schedule& schedule, const OnStep& on_step = {});

// The first value of a tensor that is trained: normal, of mean 0, a function of `key` alone. float32, on the CPU.
at::Tensor normal_tensor(const std::vector<int64_t>& shape, double deviation, uint64_t key);
// The names of the matrices of all affine layers.
std::set<std::string> layer_matrices(const Architecture& architecture);
// Those of all tensors.
std::set<std::string> names_of(const Weights& weights);
// The same numbers, without what gradients need.
Weights detached(const Weights& weights);

// A model some of whose tensors are trained.
struct Trainee {
  Weights weights;                  // the others are the base's own, but for copies of running statistics
  std::vector<at::Tensor> trained;  // leaves among them, in order of name
};
// trained: names; running statistics among them are none of the leaves, since train() makes them.
Trainee make_trainee(const Weights& base, const std::set<std::string>& trained);

// Lets batch norms use a batch's own statistics, and the running ones of `weights` move by a tenth towards them, in
// place, in each pass: what loss functions of trainings pass. The weights outlive it.
Pass with_batch_statistics(Pass pass, Weights& weights);

// What one task contributes to a training.
struct TrainedTask {
  std::string name;  // also of its head
  const TaskKind* kind = nullptr;
  std::function<Examples(int64_t step)> batch;  // ready examples (Network::ready()), on the network's device
};

// Trains on the mean over tasks of the mean loss of their batches; the groups are tensors of the trainee and of
// readouts of the network, or what layers compute with in `pass`. As with_batch_statistics(). Returns
// the trained weights.
Weights train(const Network& network, const Trainee& trainee, const std::vector<TrainedTask>& tasks,
              const std::vector<TrainedGroup>& groups, const Schedule& schedule, const OnStep& on_step = {},
              const Pass& pass = {});

// What a model answers to the examples of a split.
Answers evaluate(const Network& network, const Weights& weights, const std::string& task,
                 const TaskKind& kind, const Examples& examples, const OnStep& on_batch = {});

}  // namespace fusegrid
