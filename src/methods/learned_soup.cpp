// Learned soup: a weighted mean of the experts whose weights are learnt on labelled validation examples, together with
// a temperature of the logits.
//
// Source:  Wortsman et al., "Model Soups: Averaging Weights of Multiple Fine-Tuned Models Improves Accuracy without
//          Increasing Inference Time", ICML 2022, arXiv:2203.05482, appendix on learned soups.
// Differs: the optimiser is Adam, its steps are a parameter. The temperature is left out of the result, since it
//          changes no prediction. Running statistics of batch norm are the experts' mean.
// Cost:    `steps` forward and backward passes of batch examples per task; a model's gradients.

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/dot.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>

#include "core/philox.h"
#include "core/text.h"
#include "fusion/fusion_input.h"
#include "fusion/whole_model/adam.h"
#include "fusion/whole_model/labelled_batches.h"

namespace fusegrid::methods::learned_soup {
namespace {

struct Options {
  std::string weights = "model_wise";
  int64_t steps = 100;
  int64_t batch = 64;
  double lr = 0.05;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("weights", weights, Choices{"model_wise", "layer_wise"},
            "whether an expert has one weight, or one for each tensor");
    v.param("steps", steps, Range{0, 1e6}, "steps of Adam");
    v.param("batch", batch, Range{1, 65536}, "labelled validation examples of each task in a step");
    v.param("lr", lr, Range{0, 10}, "learning rate of Adam");
  }
};

class Learner {
 public:
  Learner(const FusionInput& in, const Options& options) : in_(in), options_(options) {
    for (const TensorInfo& info : in.tensors()) {
      mixed_.push_back(info.name);
    }
    const int64_t columns =
        options.weights == "layer_wise" ? static_cast<int64_t>(mixed_.size()) : int64_t{1};
    const at::TensorOptions on_device = at::TensorOptions(in.device()).dtype(at::kFloat);
    logits_ = at::zeros({static_cast<int64_t>(in.num_experts()), columns}, on_device);
    log_temperature_ = at::zeros({}, on_device);
    for (const std::string& task : in.tasks()) {
      examples_.push_back(in.validation_examples(task));
    }
  }

  void learn() {
    Adam of_logits(logits_, options_.lr), of_temperature(log_temperature_, options_.lr);
    for (int64_t step = 0; step < options_.steps; ++step) {
      Weights theta = mixture();
      for (const std::string& name : mixed_) {
        theta.at(name).requires_grad_(true);
      }
      at::Tensor leaf = log_temperature_.clone().requires_grad_(true);
      backward_of_loss(theta, leaf, step);
      of_logits.step(gradient_of_logits(theta));
      of_temperature.step(leaf.grad());
      in_.tick();
    }
  }

  // sum_i softmax(logits)_i theta_i
  Weights mixture() const {
    const at::Tensor shares = at::softmax(logits_, 0);
    Weights theta = in_.expert(0);
    for (size_t t = 0; t < mixed_.size(); ++t) {
      at::Tensor sum = in_.expert(0).at(mixed_[t]) * shares[0][column(t)];
      for (size_t i = 1; i < in_.num_experts(); ++i) {
        sum = sum + in_.expert(i).at(mixed_[t]) * shares[static_cast<int64_t>(i)][column(t)];
      }
      theta[mixed_[t]] = sum;
    }
    return theta;
  }

  std::string shares_text() const {
    const at::Tensor mean = at::softmax(logits_, 0).mean(1).to(at::kDouble).cpu();
    std::vector<std::string> parts;
    for (size_t i = 0; i < in_.num_experts(); ++i) {
      parts.push_back(in_.expert_names()[i] + "=" +
                      number_text(mean[static_cast<int64_t>(i)].item<double>()));
    }
    return join(parts, " ");
  }

 private:
  int64_t column(size_t tensor) const {
    return options_.weights == "layer_wise" ? static_cast<int64_t>(tensor) : 0;
  }

  void backward_of_loss(const Weights& theta, const at::Tensor& log_temperature, int64_t step) const {
    const at::AutoGradMode with_gradients(true);
    const Network& network = in_.network();
    const PrecisionScope scope(network.precision);
    for (size_t i = 0; i < examples_.size(); ++i) {
      const std::string& task = in_.tasks()[i];
      const uint64_t key = derive_key(in_.seed(), "learned_soup/" + task);
      const Examples batch = labelled_batch(network, examples_[i], key, options_.batch, step);
      const TaskKind& kind = in_.kind(task);
      const at::Tensor output = network.output(theta, kind.taught(batch), task) * log_temperature.exp();
      (kind.losses(output, batch).mean() / static_cast<double>(examples_.size())).backward();
    }
  }

  // From dL/dtheta through the softmax: s_i (g_i - sum_j s_j g_j), g_i = <dL/dtheta, theta_i>.
  at::Tensor gradient_of_logits(const Weights& theta) const {
    at::Tensor products = at::zeros(logits_.sizes(), logits_.options());
    for (size_t t = 0; t < mixed_.size(); ++t) {
      const at::Tensor& gradient = theta.at(mixed_[t]).grad();
      for (size_t i = 0; gradient.defined() && i < in_.num_experts(); ++i) {
        products[static_cast<int64_t>(i)][column(t)].add_(
            at::dot(gradient.reshape({-1}), in_.expert(i).at(mixed_[t]).reshape({-1})));
      }
    }
    const at::Tensor shares = at::softmax(logits_, 0);
    return shares * (products - (shares * products).sum(0, /*keepdim=*/true));
  }

  const FusionInput& in_;
  const Options& options_;
  std::vector<std::string> mixed_;  // tensors
  at::Tensor logits_;               // [experts, columns]
  at::Tensor log_temperature_;
  std::vector<Examples> examples_;  // by task
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  const at::NoGradGuard no_gradients;
  Learner learner(in, options);
  learner.learn();
  const Weights mixture = learner.mixture();
  const Weights others = in.map_elements([](const Slice& slice) { return mean_of(slice.expert_views()); });
  Weights theta = others;
  for (const TensorInfo& info : in.tensors()) {
    theta[info.name] = mixture.at(info.name);
  }
  FusedModel fused = one_model(std::move(theta));
  fused.facts["coefficients"] = learner.shares_text();
  return fused;
}

const RegisterMethod<Options> registered{
    {.name = "learned_soup",
     .title = "Learned soup",
     .paper = "Wortsman et al., ICML 2022, arXiv:2203.05482",
     .formula = R"(theta = sum_i softmax(a)_i theta_i
a and a temperature of the logits minimise the loss of labelled validation examples
learnt on validation: its validation score is biased upwards)",
     .family = Family::kAveraging,
     .grain = Grain::kWholeModel,
     .needs = {Need::kValidationExamples, Need::kGradients},
     .demands = {Demand::kClasses, Demand::kDistribution},
     .random = true,
     .cost = Cost::kTraining},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::learned_soup
