// Twin-Merging: one shared model, and beside its linear layers what each expert has that the shared model lacks,
// compressed; a router that looks at the shared model's features says for each input how much of which expert it gets.
//
// Source:  Lu et al., "Twin-Merging: Dynamic Integration of Modular Expertise in Model Merging", NeurIPS 2024,
//          arXiv:2406.15479, and the authors' code with task arithmetic as the shared model and SVD as the compression.
// Differs: the router has one hidden layer without batch norm and is trained on all its inputs at once, on which task
//          an input is of (no other label). The experts' parts outside the linear layers are left out, so that inputs
//          of one batch can have weights of their own. Singular values that are rounding (svd.h) take no part.
// Grain:   whole model: what it returns is no set of weights of the architecture but layers that route.
// Cost:    N SVDs per matrix; 256 inputs of each task forward. Inference: two passes, the second with N products of low
//          rank beside each layer.

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/add.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include "core/concatenate.h"
#include "core/philox.h"
#include "core/text.h"
#include "fusion/subspaces/svd.h"
#include "fusion/whole_model/adam.h"
#include "fusion/whole_model/routed_layers.h"
#include "models/feeder.h"

namespace fusegrid::methods::twin_merging {
namespace {

constexpr int64_t kBatch = 256;

struct Options {
  double scale = 0.3;
  double density = 0.1;
  int64_t examples = 256;
  int64_t hidden = 128;
  double lr = 0.01;
  int64_t steps = 300;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("scale", scale, Range{-2, 2}, "task arithmetic of the shared model");
    v.param("density", density, Range{0, 1},
            "fraction of the singular triplets of each expert's part that are kept");
    v.param("examples", examples, Range{1, 1e6},
            "unlabelled training inputs per expert, of which the router learns");
    v.param("hidden", hidden, Range{1, 1 << 16}, "width of the router's hidden layer");
    v.param("lr", lr, Range{0, 10}, "learning rate of Adam");
    v.param("steps", steps, Range{0, 1e6}, "steps of Adam, each over all inputs");
  }
};

// Features of the shared model -> how likely an input is an expert's: logits [n, experts].
struct Router {
  at::Tensor weight1, bias1;  // [hidden, width], [hidden]
  at::Tensor weight2, bias2;  // [experts, hidden], [experts]

  at::Tensor operator()(const at::Tensor& features) const {
    return at::linear(at::relu(at::linear(features, weight1, bias1)), weight2, bias2);
  }
  std::vector<at::Tensor> parameters() const { return {weight1, bias1, weight2, bias2}; }
};

class TwinModel final : public Predictor {
 public:
  TwinModel(LayersWithExperts parts, Router router) : parts_(std::move(parts)), router_(std::move(router)) {}

  at::Tensor output(const Network& network, const Inputs& inputs, const Ask& ask) const override {
    const Weights shared = rounded(parts_.base, network.precision);
    const at::Tensor gates = at::softmax(router_(network.features(shared, inputs).to(at::kFloat)), 1);
    const Pass routing{
        [&](const Layer& layer, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
          const at::Tensor y = at::linear(x, weight, bias);
          const auto experts = parts_.layers.find(layer.name);
          if (experts == parts_.layers.end()) {
            return y;
          }
          const at::Tensor of_rows = x.dim() == 3 ? gates.unsqueeze(1) : gates;
          return y + expert_sum(experts->second, of_rows, x.to(at::kFloat)).to(y.dtype());
        }};
    return network.output(shared, inputs, ask.head, routing);
  }

  std::shared_ptr<const Predictor> held_in(Precision precision) const override {
    return std::make_shared<TwinModel>(LayersWithExperts{rounded(parts_.base, precision), parts_.layers},
                                       router_);
  }

  Weights weights() const override {
    Weights all = parts_.base;
    for (const auto& [name, experts] : parts_.layers) {
      for (size_t i = 0; i < experts.size(); ++i) {
        const std::string prefix = name + "/expert" + std::to_string(i) + "/";
        all.emplace(prefix + "left", experts[i].left);
        all.emplace(prefix + "right", experts[i].right);
        if (experts[i].bias.defined()) {
          all.emplace(prefix + "bias", experts[i].bias);
        }
      }
    }
    const std::vector<at::Tensor> router = router_.parameters();
    for (size_t i = 0; i < router.size(); ++i) {
      all.emplace("router/" + std::to_string(i), router[i]);
    }
    return all;
  }

 private:
  LayersWithExperts parts_;  // the shared model, and what sets the experts apart from it
  Router router_;
};

LayersWithExperts twins(const FusionInput& in, const Options& options) {
  const Field sum = in.task_vector_sum();
  std::set<std::string> linear;
  for (const Layer& layer : in.network().architecture->layers()) {
    linear.insert(layer.name);
  }
  LayersWithExperts parts;
  parts.base = in.map_matrices([&](const Slice& slice) {
    const at::Tensor shared = at::add(slice.base(), slice[sum], options.scale);
    const std::string layer = slice.name().substr(0, slice.name().rfind('.'));
    if (slice.name().ends_with(".weight") && linear.contains(layer)) {
      const int64_t all = std::min(shared.size(0), shared.size(1));
      const auto rank = static_cast<int64_t>(static_cast<double>(all) * options.density);
      for (const at::Tensor& expert : slice.experts()) {
        const Svd svd = significant_svd(expert.to(at::kDouble) - shared.to(at::kDouble), rank);
        parts.layers[layer].push_back(
            {(svd.u * svd.s).to(at::kFloat), svd.v.to(at::kFloat).contiguous(), {}, {}});
      }
    }
    return shared;
  });
  for (auto& [layer, experts] : parts.layers) {
    const auto bias = parts.base.find(layer + ".bias");
    for (size_t i = 0; bias != parts.base.end() && i < experts.size(); ++i) {
      experts[i].bias = in.expert(i).at(bias->first) - bias->second;
    }
  }
  return parts;
}

// Of the training inputs of all experts: features of the shared model [n, width], and whose they are, int64 [n].
std::pair<at::Tensor, at::Tensor> lessons(const FusionInput& in, const Weights& shared, int64_t examples) {
  const Weights held = rounded(shared, in.network().precision);
  std::vector<at::Tensor> features;
  std::vector<at::Tensor> owners;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    const std::vector<std::string> tasks = in.tasks_of(i);
    for (const std::string& task : tasks) {
      const auto count = std::max<int64_t>(1, examples / static_cast<int64_t>(tasks.size()));
      feed(in.network(), in.train_inputs(task, count), kBatch, [&](const Inputs& ready, const at::Tensor&) {
        features.push_back(in.network().features(held, ready).to(at::kFloat));
        owners.push_back(at::full({features.back().size(0)}, static_cast<int64_t>(i),
                                  at::TensorOptions(in.device()).dtype(at::kLong)));
        in.tick();
      });
    }
  }
  if (features.empty()) {
    throw ConfigError(
        "method 'twin_merging' needs inputs of the experts' tasks, but they own none; use a method "
        "without data");
  }
  return {concatenate(features), concatenate(owners)};
}

// A gate's row belongs to its expert, so that the order of the experts is no matter.
Router new_router(const FusionInput& in, int64_t width, int64_t hidden) {
  std::vector<at::Tensor> rows;
  for (const std::string& name : in.expert_names()) {
    rows.push_back(normal(derive_key(in.seed(), "twin_merging/gate/" + name), 0, 0, hidden));
  }
  const at::Tensor first = normal(derive_key(in.seed(), "twin_merging/router"), 0, 0, hidden * width);
  const auto whole = at::TensorOptions(in.device()).dtype(at::kFloat);
  return {(first.view({hidden, width}) / std::sqrt(static_cast<double>(width))).to(in.device()),
          at::zeros({hidden}, whole),
          (at::stack(rows) / std::sqrt(static_cast<double>(hidden))).to(in.device()),
          at::zeros({static_cast<int64_t>(rows.size())}, whole)};
}

Router trained_router(const FusionInput& in, const Weights& shared, const Options& options) {
  const auto [features, owners] = lessons(in, shared, options.examples);
  const Router router = new_router(in, features.size(1), options.hidden);
  LeafTraining training(router.parameters(), options.lr);
  for (int64_t step = 0; step < options.steps; ++step) {
    const at::AutoGradMode with_gradients(true);
    at::cross_entropy_loss(router(features), owners).backward();
    training.step();
    in.tick();
  }
  return router;
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  const at::NoGradGuard no_grad;
  const PrecisionScope scope(in.network().precision);
  LayersWithExperts parts = twins(in, options);
  const Router router = trained_router(in, parts.base, options);
  auto model = std::make_shared<TwinModel>(std::move(parts), router);
  const auto stored = static_cast<double>(num_parameters(model->weights()));
  return {model, stored, {}};
}

const RegisterMethod<Options> registered{
    {.name = "twin_merging",
     .title = "Twin-Merging",
     .paper = "Lu et al., NeurIPS 2024, arXiv:2406.15479",
     .formula = R"(shared  theta_s = theta_0 + scale * sum_i tau_i
layers  W(x) = W_s + sum_i g_i(x) SVD_k(W_i - W_s),   k = density * min(rows, columns)
        b(x) = b_s + sum_i g_i(x) (b_i - b_s)
g(x) = softmax(router(features of theta_s)),   the router trained on which expert's task an input is of)",
     .family = Family::kRouting,
     .grain = Grain::kWholeModel,
     .needs = {Need::kPretrained, Need::kTrainInputs},
     .demands = {Demand::kLayers, Demand::kHeads},
     .yields = Yields::kRoutedModel,
     .random = true,
     .cost = Cost::kForwardPasses},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::twin_merging
