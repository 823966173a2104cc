// Pareto weight-ensembling MoE: routers from a preference among the tasks to the coefficients of each attention and
// each MLP, so that one training serves all preferences; the merge at one of them.
//
// Source:  Tang et al., "Towards Efficient Pareto Set Approximation via Mixture of Experts Based Model Fusion", 2024,
//          arXiv:2406.09770, with linear scalarisation or exact Pareto search (fusion/whole_model/exact_pareto.h).
// Differs: a preference has a number for each expert, which the tasks of an expert share. Learning rate and steps are
//          those of FusionBench's configuration for OpenCLIP, with the schedule of the one for CLIP: a cosine from the
//          rate to a tenth of it. Routers without layers, whose coefficients do not depend on the preference, are ours.
//          FusionBench's exact Pareto search does not run; what its solver says of losses and gradients is the same,
//          but where it has no solution. The gradient of a coefficient is the inner
//          product of the merged weights' gradient with its task vector, and goes from there through the routers.
// Cost:    `steps` forward and backward passes of batch examples per task, once for all preferences; of the exact
//          search a merge of each task besides.

#include <algorithm>
#include <cmath>
#include <numbers>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "core/block_name.h"
#include "core/concatenate.h"
#include "core/model_weights.h"
#include "core/philox.h"
#include "core/text.h"
#include "fusion/demands.h"
#include "fusion/whole_model/adam.h"
#include "fusion/whole_model/coefficients.h"
#include "fusion/whole_model/exact_pareto.h"
#include "fusion/whole_model/labelled_batches.h"

namespace fusegrid::methods::pwe_moe {
namespace {

struct Options {
  std::vector<double> preference{1};
  std::string solver = "linear";
  double scale = 0.3;
  bool attention = true;
  int64_t layers = 2;
  double lr = 1e-2;
  int64_t steps = 2000;
  int64_t batch = 16;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("preference", preference, Range{0, 1e6},
            "what each expert's tasks count, in their order, or one number: all alike");
    v.param(
        "solver", solver, Choices{"linear", "exact_pareto"},
        "how a preference weighs losses: by its shares, or so that share times loss becomes equal for all");
    v.param("scale", scale, Range{-2, 2}, "task arithmetic outside what has routers, and where these start");
    v.param("attention", attention, "attentions have routers as well as MLPs");
    v.param("layers", layers, Range{0, 2}, "layers of each router (0: the same for any preference)");
    v.param("lr", lr, Range{0, 10}, "learning rate of Adam at the first step");
    v.param("steps", steps, Range{0, 1e6}, "steps of Adam");
    v.param("batch", batch, Range{1, 65536}, "labelled training examples of each task in a step");
  }
  void check(int64_t experts) const { shares(experts); }
  // The preference, with sum 1.
  std::vector<double> shares(int64_t experts) const {
    std::vector<double> all = number_of_each_model("pwe_moe", "preference", preference, experts);
    double sum = 0;
    for (const double one : all) {
      sum += one;
    }
    if (!(sum > 0)) {
      throw ConfigError("parameter 'preference' of method 'pwe_moe' has no number above zero; raise one");
    }
    for (double& one : all) {
      one /= sum;
    }
    return all;
  }
};

// The module of each tensor: 0, 1, ... where it has a router, else `count`.
struct Modules {
  std::map<std::string, int64_t> of_tensor;
  int64_t count = 0;

  Modules(const Architecture& architecture, bool attention) {
    const Blocks& blocks = required_blocks("pwe_moe", architecture);
    for (int64_t block = 0; block < blocks.size(); ++block) {
      const std::vector<Layer> mlp = blocks.mlp_layers(block);
      add(mlp);
      if (attention) {
        add(others_of_block(architecture, mlp));
      }
    }
  }
  int64_t of(const std::string& tensor) const {
    const auto found = of_tensor.find(tensor);
    return found == of_tensor.end() ? count : found->second;
  }

 private:
  void add(const std::vector<Layer>& layers) {
    for (const Layer& layer : layers) {
      of_tensor.emplace(layer.weight, count);
      of_tensor.emplace(layer.bias, count);
    }
    ++count;
  }
  // The affine layers in the block of these: its attention's.
  static std::vector<Layer> others_of_block(const Architecture& architecture, const std::vector<Layer>& mlp) {
    const BlockName own = block_name(mlp.front().name);
    std::vector<Layer> others;
    for (const Layer& layer : architecture.layers()) {
      const BlockName name = block_name(layer.name);
      const bool is_of_mlp =
          std::any_of(mlp.begin(), mlp.end(), [&](const Layer& one) { return one.name == layer.name; });
      if (name.inside && name.stack == own.stack && name.block == own.block && !is_of_mlp) {
        others.push_back(layer);
      }
    }
    return others;
  }
};

// The routers of all modules, from a preference r to the coefficients of module m: of two layers W2_m relu(W1_m r +
// b1_m) + b2_m, of one W2_m r + b2_m, of none b2_m. Weights are [modules, out, in], biases [modules, out, 1].
class Routers {
 public:
  // Numbers of an expert are functions of its name, so that the order of the experts is no matter.
  Routers(const FusionInput& in, const Options& options, int64_t modules) {
    const auto experts = static_cast<int64_t>(in.num_experts());
    const int64_t hidden = 2 * experts;
    const auto random = [&](const std::string& purpose, size_t expert, int64_t count) {
      const uint64_t key = derive_key(in.seed(), "pwe_moe/" + purpose + "/" + in.expert_names()[expert]);
      return normal(key, 0, 0, modules * count).view({modules, count}) * 0.01;
    };
    if (options.layers == 2) {
      std::vector<at::Tensor> columns;
      for (size_t i = 0; i < in.num_experts(); ++i) {
        columns.push_back(random("in", i, hidden));
      }
      tensors_["1.weight"] = at::stack(columns, 2);
      tensors_["1.bias"] = at::zeros({modules, hidden, 1});
    }
    if (options.layers > 0) {
      std::vector<at::Tensor> rows;
      for (size_t i = 0; i < in.num_experts(); ++i) {
        rows.push_back(options.layers == 2 ? random("out", i, hidden) : between_experts(in, i, random));
      }
      tensors_["2.weight"] = at::stack(rows, 1);
    }
    tensors_["2.bias"] = at::full({modules, experts, 1}, options.scale);
    for (auto& [name, tensor] : tensors_) {
      tensor = tensor.to(in.device());
    }
  }
  explicit Routers(Weights trained) : tensors_(std::move(trained)) {}

  Weights& tensors() { return tensors_; }
  // [modules, experts]
  at::Tensor coefficients(const at::Tensor& preference) const {
    at::Tensor x = preference.view({1, -1, 1});
    if (const auto first = tensors_.find("1.weight"); first != tensors_.end()) {
      x = at::relu(at::matmul(first->second, x) + tensors_.at("1.bias"));
    }
    const at::Tensor& bias = tensors_.at("2.bias");
    const auto last = tensors_.find("2.weight");
    return (last == tensors_.end() ? bias : at::matmul(last->second, x) + bias).squeeze(2);
  }

 private:
  // What the row of expert i reads of each expert: [modules, experts].
  template <typename Random>
  static at::Tensor between_experts(const FusionInput& in, size_t i, const Random& random) {
    std::vector<at::Tensor> entries;
    for (const std::string& other : in.expert_names()) {
      entries.push_back(random("from/" + other, i, 1));
    }
    return concatenate(entries, 1);
  }

  Weights tensors_;
};

class Merge {
 public:
  Merge(const FusionInput& in, const Options& options)
      : in_(in),
        options_(options),
        modules_(*in.network().architecture, options.attention),
        merged_(in, Granularity::kTensor, false) {
    std::vector<int64_t> modules;
    for (const std::string& tensor : merged_.moving()) {
      modules.push_back(modules_.of(tensor));
    }
    module_of_column_ = at::tensor(modules, at::kLong).to(in.device());
  }

  Weights trained() {
    Routers routers(in_, options_, modules_.count);
    std::vector<Examples> all;
    for (const std::string& task : in_.tasks()) {
      all.push_back(in_.train_examples(task, -1));
    }
    LeafTraining training(routers.tensors(), options_.lr);
    for (int64_t step = 0; step < options_.steps && !merged_.moving().empty(); ++step) {
      if (options_.solver == "linear") {
        backward_at(routers, drawn_preference(step), batches(all, step));
      } else {
        exact_backward_at(routers, drawn_preference(step), batches(all, step));
      }
      const double progress = static_cast<double>(step) / static_cast<double>(options_.steps);
      training.set_learning_rate(options_.lr * (0.55 + 0.45 * std::cos(std::numbers::pi * progress)));
      training.step();
      in_.tick();
    }
    return routers.tensors();
  }

  // [experts, columns]
  at::Tensor lambdas(const Routers& routers, const std::vector<double>& preference) const {
    const at::Tensor r = at::tensor(preference, at::kFloat).to(in_.device());
    const at::Tensor others =
        at::full({1, static_cast<int64_t>(in_.num_experts())}, options_.scale, r.options());
    return concatenate({routers.coefficients(r), others}).index_select(0, module_of_column_).t();
  }
  Weights model(const at::Tensor& lambdas) { return merged_.merged(lambdas); }

 private:
  // Uniform among all of sum 1, a Dirichlet distribution with parameters 1: exponential numbers divided by their sum.
  std::vector<double> drawn_preference(int64_t step) const {
    std::vector<double> drawn;
    double sum = 0;
    for (const std::string& name : in_.expert_names()) {
      const uint64_t key = derive_key(in_.seed(), "pwe_moe/preference/" + name);
      drawn.push_back(-std::log1p(-uniform(key, 0, step, 1).item<double>()));
      sum += drawn.back();
    }
    for (double& one : drawn) {
      one = sum > 0 ? one / sum : 1.0 / static_cast<double>(drawn.size());
    }
    return drawn;
  }

  std::vector<Examples> batches(const std::vector<Examples>& all, int64_t step) const {
    std::vector<Examples> drawn;
    for (size_t i = 0; i < all.size(); ++i) {
      const uint64_t key = derive_key(in_.seed(), "pwe_moe/" + in_.tasks()[i]);
      drawn.push_back(labelled_batch(in_.network(), all[i], key, options_.batch, step));
    }
    return drawn;
  }

  // What the loss of each task counts: its part of the shares of the experts that were made for it.
  std::vector<double> shares_of_tasks(const std::vector<double>& preference) const {
    std::map<std::string, double> shares;
    for (size_t i = 0; i < in_.num_experts(); ++i) {
      const std::vector<std::string> own = in_.tasks_of(i);
      for (const std::string& task : own) {
        shares[task] += preference[i] / static_cast<double>(own.size());
      }
    }
    std::vector<double> in_order;
    for (const std::string& task : in_.tasks()) {
      in_order.push_back(shares.at(task));
    }
    return in_order;
  }

  void backward_at(const Routers& routers, const std::vector<double>& preference,
                   const std::vector<Examples>& examples) {
    const at::AutoGradMode with_gradients(true);
    const at::Tensor of_routers = lambdas(routers, preference);
    const at::Tensor used = of_routers.detach();
    merged_.merge(used);
    backward_of_losses(in_, merged_.weights(), examples, shares_of_tasks(preference));
    of_routers.backward(merged_.gradient(used));
  }

  // Leaves the gradient in which each task's counts as exact_pareto_weights() says, on average once.
  void exact_backward_at(Routers& routers, const std::vector<double>& preference,
                         const std::vector<Examples>& examples) {
    const at::AutoGradMode with_gradients(true);
    const at::Tensor of_routers = lambdas(routers, preference);
    const at::Tensor used = of_routers.detach();
    std::vector<double> losses;
    std::vector<at::Tensor> gradients;  // of all routers' entries
    for (size_t task = 0; task < examples.size(); ++task) {
      merged_.merge(used);
      losses.push_back(backward_of_loss(in_, merged_.weights(), examples, task));
      of_routers.backward(merged_.gradient(used), /*retain_graph=*/true);
      gradients.push_back(taken_gradient(routers));
    }
    const at::NoGradGuard no_gradients;
    const at::Tensor all = at::stack(gradients);
    const at::Tensor in_double = all.to(at::kDouble).cpu();
    const std::vector<double> weights = exact_pareto_weights(
        losses, at::matmul(in_double, in_double.t()).contiguous(), shares_of_tasks(preference));
    at::Tensor sum = at::zeros_like(all[0]);
    for (size_t task = 0; task < weights.size(); ++task) {
      sum += all[static_cast<int64_t>(task)] * (weights[task] * static_cast<double>(weights.size()));
    }
    leave_gradient(routers, sum);
  }

  // What a backward pass left in the routers, of whom it is taken.
  static at::Tensor taken_gradient(Routers& routers) {
    std::vector<at::Tensor> parts;
    for (auto& [name, tensor] : routers.tensors()) {
      parts.push_back(tensor.grad().flatten().clone());
      tensor.mutable_grad().reset();
    }
    return concatenate(parts);
  }
  static void leave_gradient(Routers& routers, const at::Tensor& gradient) {
    int64_t begin = 0;
    for (auto& [name, tensor] : routers.tensors()) {
      tensor.mutable_grad() = gradient.narrow(0, begin, tensor.numel()).view(tensor.sizes());
      begin += tensor.numel();
    }
  }

  const FusionInput& in_;
  const Options& options_;
  Modules modules_;
  CoefficientMerge merged_;
  at::Tensor module_of_column_;
};

// Of what the training depends on.
std::string trained_key(const Options& options) {
  return "pwe_moe/" + join({options.solver, number_text(options.scale),
                            options.attention ? "attention" : "mlp", number_text(options.layers),
                            number_text(options.lr), number_text(options.steps), number_text(options.batch)},
                           "/");
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  const at::NoGradGuard no_gradients;
  Merge merge(in, options);
  const Routers routers(*in.trained(trained_key(options), [&] { return merge.trained(); }));
  const at::Tensor lambdas = merge.lambdas(routers, options.shares(static_cast<int64_t>(in.num_experts())));
  FusedModel fused = one_model(merge.model(lambdas));
  fused.facts["coefficients"] = coefficient_text(in, lambdas);
  return fused;
}

const RegisterMethod<Options> registered{
    {.name = "pwe_moe",
     .title = "PWE-MoE",
     .paper = "Tang et al., 2024, arXiv:2406.09770",
     .formula =
         R"(attentions and MLPs  W = W_0 + sum_i g_i tau_i,   g = router(r) of each, r the preference among the tasks, sum_i r_i = 1
others               theta = theta_0 + scale * sum_i tau_i
routers minimise     E_r sum_i r_i L_i,   r uniform on the simplex, L_i the loss of labelled training examples of task i
solver=exact_pareto  E_r sum_i alpha_i L_i,   alpha(r, L, dL) towards r_i L_i that are equal for all i, at a Pareto optimum
router: 0, 1 or 2 layers; its last bias starts at scale, so that training starts at task arithmetic)",
     .family = Family::kTaskVector,
     .grain = Grain::kWholeModel,
     .needs = {Need::kPretrained, Need::kTrainInputs, Need::kTrainLabels, Need::kGradients},
     .demands = {Demand::kBlocks},
     .random = true,
     .told_apart = {"preference", "solver"},
     .cost = Cost::kTraining},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::pwe_moe
