// Distillation: one model, which begins as the experts' average, learns on unlabelled inputs to answer as an ensemble
// of the experts does, or on each task as the expert that was made for it.
//
// Source:  Lin et al., "Ensemble Distillation for Robust Model Fusion in Federated Learning", NeurIPS 2020,
//          arXiv:2006.07242, section 3 (the ensemble: logits are averaged); with a teacher for each task: Hinton et
//          al., "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531.
// Differs: the inputs are those of the tasks themselves, not of another domain; the optimiser is gradient descent with
//          momentum at a constant rate, since Adam would blow up rounding where the student agrees with its teacher.
//          Running statistics of batch norm stay the experts' mean.
// Cost:    `steps` forward passes of the teachers and forward and backward passes of the student, on `batch` inputs of
//          each task.

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>

#include "core/philox.h"
#include "core/role.h"
#include "fusion/fusion_input.h"
#include "fusion/whole_model/labelled_batches.h"

namespace fusegrid::methods::distillation {
namespace {

constexpr double kMomentum = 0.9;

struct Options {
  std::string teacher = "ensemble";
  double temperature = 1;
  int64_t steps = 300;
  int64_t batch = 32;
  double lr = 0.02;
  int64_t examples = -1;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("teacher", teacher, Choices{"ensemble", "own"},
            "the mean of all experts' logits, or the logits of the expert that the task was made for");
    v.param("temperature", temperature, Range{0.01, 100}, "that logits are divided by before the softmax");
    v.param("steps", steps, Range{0, 1e7}, "steps of gradient descent with momentum 0.9");
    v.param("batch", batch, Range{1, 65536}, "unlabelled training inputs of each task in a step");
    v.param("lr", lr, Range{0, 1}, "learning rate");
    v.param("examples", examples, Range{-1, 1e9}, "inputs of each task that are used; -1: all");
  }
};

// The student's parameters, which are trained in place.
Weights make_student(const FusionInput& in) {
  Weights student = in.map_elements([](const Slice& slice) { return mean_of(slice.expert_views()); });
  for (auto& [name, tensor] : student) {
    if (tensor.is_floating_point() && !is_running_statistic(name, tensor)) {
      tensor = tensor.clone().requires_grad_(true);
    }
  }
  return student;
}

class Distiller {
 public:
  Distiller(const FusionInput& in, const Options& options)
      : in_(in), options_(options), student_(make_student(in)) {
    for (const std::string& task : in.tasks()) {
      inputs_.push_back({.inputs = in.train_inputs(task, options.examples)});
    }
    for (const auto& [name, tensor] : student_) {
      if (tensor.requires_grad()) {
        velocities_.emplace(name, at::zeros_like(tensor));
      }
    }
  }

  void learn() {
    for (int64_t step = 0; step < options_.steps; ++step) {
      for (size_t task = 0; task < inputs_.size(); ++task) {
        backward_of_loss(task, step);
      }
      const at::NoGradGuard no_gradients;
      for (auto& [name, velocity] : velocities_) {
        at::Tensor& gradient = student_.at(name).mutable_grad();
        if (gradient.defined()) {
          velocity.mul_(kMomentum).add_(gradient);
          student_.at(name).sub_(velocity * options_.lr);
          gradient.reset();
        }
      }
      in_.tick();
    }
  }

  Weights student() const {
    Weights made;
    for (const auto& [name, tensor] : student_) {
      made.emplace(name, tensor.detach());
    }
    return made;
  }

 private:
  // Of the mean over tasks of the mean over rows of KL(teacher || student), times the temperature squared, so that its
  // gradients are of one size for any.
  void backward_of_loss(size_t index, int64_t step) const {
    const Network& network = in_.network();
    const PrecisionScope scope(network.precision);
    const std::string& task = in_.tasks()[index];
    const uint64_t key = derive_key(in_.seed(), "distillation/" + task);
    const Inputs batch = labelled_batch(network, inputs_[index], key, options_.batch, step).inputs;
    const double t = options_.temperature;
    const at::Tensor wanted = teacher(task, batch).to(at::kFloat).div(t).log_softmax(-1);
    const at::AutoGradMode with_gradients(true);
    const at::Tensor answer = network.output(student_, batch, task).to(at::kFloat).div(t).log_softmax(-1);
    const at::Tensor divergence = (wanted.exp() * (wanted - answer)).sum(-1).mean();
    (divergence * (t * t / static_cast<double>(inputs_.size()))).backward();
  }

  at::Tensor teacher(const std::string& task, const Inputs& batch) const {
    const at::NoGradGuard no_gradients;
    if (options_.teacher == "own") {
      const auto& names = in_.expert_names();
      const auto owner = std::find(names.begin(), names.end(), in_.owners().at(task));
      return in_.network().output(in_.expert(static_cast<size_t>(owner - names.begin())), batch, task);
    }
    at::Tensor sum = in_.network().output(in_.expert(0), batch, task);
    for (size_t i = 1; i < in_.num_experts(); ++i) {
      sum = sum + in_.network().output(in_.expert(i), batch, task);
    }
    return sum / static_cast<double>(in_.num_experts());
  }

  const FusionInput& in_;
  const Options& options_;
  Weights student_;
  std::vector<Examples> inputs_;  // by task, unlabelled
  std::map<std::string, at::Tensor> velocities_;
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  Distiller distiller(in, options);
  distiller.learn();
  return one_model(distiller.student());
}

const RegisterMethod<Options> registered{
    {.name = "distillation",
     .title = "Distillation",
     .paper = "Lin et al., NeurIPS 2020, arXiv:2006.07242",
     .formula =
         R"(theta minimises   mean_t mean_x KL(softmax(z_t(x) / T) || softmax(f_theta(x) / T))   from the average
z_t: the mean of the experts' logits (ensemble), or the logits of the expert of task t (own))",
     .family = Family::kAveraging,
     .grain = Grain::kWholeModel,
     .needs = {Need::kTrainInputs, Need::kGradients},
     .demands = {Demand::kClasses, Demand::kDistribution},
     .random = true,
     .told_apart = {"teacher"},
     .cost = Cost::kTraining,
     .training_models = 5},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::distillation
