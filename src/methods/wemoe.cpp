// WEMoE: task arithmetic everywhere but in the MLPs; each MLP mixes the experts' task vectors by a router per
// input.
//
// Source:  Tang et al., "Merging Multi-Task Models via Weight-Ensembling Mixture of Experts", ICML 2024,
//          arXiv:2402.00433.
// Differs: gates are those of each input by default; batch_reduce=true averages them over the evaluation batch as
//          FusionBench's code does, and then a prediction depends on the other inputs of its batch. The products
//          x W(x)^T are summed expert by expert, without building W(x). In a causal model a token's gates are the mean
//          over it and the tokens in front of it, so that they neither see nor change with what is behind it.
// Cost:    `steps` forward and backward passes of batch inputs per task; inference computes every MLP N + 1 times.

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/add.h>
#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>

#include "core/philox.h"
#include "core/text.h"
#include "fusion/demands.h"
#include "fusion/whole_model/adam.h"
#include "fusion/whole_model/adaptation.h"
#include "fusion/whole_model/routed_mlp.h"

namespace fusegrid::methods::wemoe {
namespace {

struct Options {
  double scale = 0.3;
  int64_t layers = 2;
  double lr = 1e-4;
  int64_t steps = 1000;
  int64_t batch = 16;
  bool batch_reduce = false;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("scale", scale, Range{-2, 2}, "task arithmetic outside the MLPs and initial gate inside");
    v.param("layers", layers, Range{0, 2},
            "layers of each router (0: gates that do not depend on the input)");
    v.param("lr", lr, Range{0, 10}, "learning rate of Adam");
    v.param("steps", steps, Range{0, 1e6}, "steps of Adam");
    v.param("batch", batch, Range{1, 4096}, "unlabelled test inputs per task and step");
    v.param("batch_reduce", batch_reduce, "average the gates over the batch, as FusionBench's code does");
  }
};

// Tensors of one block's router: "router<block>.<layer>.weight|bias".
std::string router_name(int64_t block, int64_t layer, const char* part) {
  return "router" + std::to_string(block) + "." + std::to_string(layer) + "." + part;
}

class RoutedModel final : public Predictor {
 public:
  RoutedModel(const FusionInput& in, const Options& options) : options_(options), experts_(in.num_experts()) {
    const Blocks& blocks = required_blocks("wemoe", *in.network().architecture);
    const Field sum = in.task_vector_sum();
    merged_ =
        in.map_elements([&](const Slice& slice) { return at::add(slice.base(), slice[sum], options.scale); });
    for (int64_t block = 0; block < blocks.size(); ++block) {
      add_mlps(in, blocks.mlp_layers(block));
      add_router(in, block, blocks.width());
    }
  }

  // Routers stay float32 and are shared, so that training those of the copy trains these.
  RoutedModel copy_held_in(Precision precision) const {
    RoutedModel held = *this;
    held.merged_ = rounded(merged_, precision);
    held.mlp_base_ = rounded(mlp_base_, precision);
    for (auto& taus : held.mlp_taus_) {
      for (Weights& tau : taus) {
        tau = rounded(tau, precision);
      }
    }
    return held;
  }
  std::shared_ptr<const Predictor> held_in(Precision precision) const override {
    return std::make_shared<RoutedModel>(copy_held_in(precision));
  }

  at::Tensor features(const Network& network, const Inputs& inputs) const {
    if (!are_held_in(merged_, network.precision)) {
      return copy_held_in(network.precision).features(network, inputs);
    }
    const Blocks& blocks = *network.architecture->blocks();
    const at::Tensor mask = blocks.mask(inputs);
    const GateRows rows{inputs.answer.defined() ? inputs.lengths + inputs.answer_lengths : inputs.lengths,
                        blocks.causal(), options_.batch_reduce};
    at::Tensor x = blocks.embed(merged_, inputs);
    for (int64_t block = 0; block < blocks.size(); ++block) {
      x = blocks.attention(merged_, block, x, mask, {});
      const at::Tensor input = blocks.mlp_input(merged_, block, x);
      const at::Tensor gates = router_gates(router(block), input.to(at::kFloat), rows).to(input.dtype());
      const auto& taus = mlp_taus_[static_cast<size_t>(block)];
      x = blocks.add_mlp(merged_, block, x, routed_mlp(blocks, block, mlp_base_, taus, gates, input));
    }
    return blocks.finish(merged_, x, inputs, network.pooling());
  }
  at::Tensor output(const Network& network, const Inputs& inputs, const Ask& ask) const override {
    return network.read(merged_, features(network, inputs), ask.head);
  }
  const Weights& merged() const { return merged_; }
  Weights weights() const override {
    Weights all = merged_;
    all.insert(mlp_base_.begin(), mlp_base_.end());
    for (const auto& block : mlp_taus_) {
      for (size_t i = 0; i < block.size(); ++i) {
        for (const auto& [name, tensor] : block[i]) {
          all.emplace(name + "/tau" + std::to_string(i), tensor);
        }
      }
    }
    for (const auto& [name, tensor] : routers_) {
      all.emplace(name, tensor.detach());
    }
    return all;
  }
  Weights& routers() { return routers_; }

 private:
  void add_mlps(const FusionInput& in, const std::vector<Layer>& layers) {
    std::vector<Weights>& taus = mlp_taus_.emplace_back(experts_);
    for (const Layer& layer : layers) {
      for (const std::string& name : {layer.weight, layer.bias}) {
        const auto tensor = in.base().find(name);
        if (tensor == in.base().end()) {
          continue;  // a layer without bias
        }
        mlp_base_.emplace(*tensor);
        for (size_t i = 0; i < experts_; ++i) {
          taus[i].emplace(name, in.expert(i).at(name) - tensor->second);
        }
        merged_.erase(name);  // never read: the routed MLP stands in for it
      }
    }
  }

  void add_router(const FusionInput& in, int64_t block, int64_t width) {
    const auto options = at::TensorOptions(in.device()).dtype(at::kFloat);
    const auto gates = static_cast<int64_t>(experts_);
    const uint64_t key = derive_key(in.seed(), "wemoe/router");
    for (int64_t layer = 0; layer < options_.layers; ++layer) {
      const bool last = layer + 1 == options_.layers;
      const int64_t outputs = last ? gates : width;
      const auto stream = static_cast<uint64_t>(block * 2 + layer);
      std::vector<at::Tensor>
          rows;  // a gate's row belongs to its task, so the order of the experts is no matter
      for (size_t i = 0; last && i < experts_; ++i) {
        rows.push_back(normal(derive_key(in.seed(), "wemoe/gate/" + in.expert_names()[i]), stream, 0, width));
      }
      const at::Tensor random =
          last ? at::stack(rows) : normal(key, stream, 0, width * width).view({width, width});
      routers_[router_name(block, layer, "weight")] = (random * 0.01).to(in.device());
      routers_[router_name(block, layer, "bias")] = at::full({outputs}, last ? options_.scale : 0.0, options);
    }
    if (options_.layers == 0) {
      routers_[router_name(block, 0, "bias")] = at::full({gates}, options_.scale, options);
    }
  }

  std::vector<RouterLayer> router(int64_t block) const {
    if (options_.layers == 0) {
      return {{{}, routers_.at(router_name(block, 0, "bias"))}};
    }
    std::vector<RouterLayer> layers;
    for (int64_t layer = 0; layer < options_.layers; ++layer) {
      layers.push_back(
          {routers_.at(router_name(block, layer, "weight")), routers_.at(router_name(block, layer, "bias"))});
    }
    return layers;
  }

  Options options_;
  size_t experts_;
  Weights merged_;                              // everything but the MLPs
  Weights mlp_base_;                            // the base's MLPs
  std::vector<std::vector<Weights>> mlp_taus_;  // [block][expert]: the experts' task vectors of them
  Weights routers_;
};

void train_routers(const FusionInput& in, const Options& options, RoutedModel& model) {
  const RoutedModel held = model.copy_held_in(in.network().precision);
  TestStream stream(in, options.batch, "wemoe");
  std::vector<std::pair<at::Tensor, Adam>> optimizers;
  for (auto& [name, tensor] : model.routers()) {
    tensor.requires_grad_(true);
    optimizers.emplace_back(tensor, Adam(tensor, options.lr));
  }
  for (int64_t step = 0; step < options.steps; ++step) {
    const at::AutoGradMode with_gradients(true);
    const PrecisionScope scope(in.network().precision);
    const TestStream::Step next = stream.next([&](const Inputs& ready, Memory*) {
      return held.output(in.network(), ready, {in.tasks().front(), std::nullopt});
    });
    entropy_loss(in, held.merged(), next.by_task, held.features(in.network(), next.inputs)).backward();
    for (auto& [tensor, adam] : optimizers) {
      adam.step(tensor.grad());
      tensor.mutable_grad().reset();
    }
    in.tick();
  }
  for (auto& [name, tensor] : model.routers()) {
    tensor.requires_grad_(false);
  }
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  auto model = std::make_shared<RoutedModel>(in, options);
  train_routers(in, options, *model);
  const auto stored = static_cast<double>(num_parameters(model->weights()));
  return {model, stored, {}};
}

const RegisterMethod<Options> registered{
    {.name = "wemoe",
     .title = "WEMoE",
     .paper = "Tang et al., ICML 2024, arXiv:2402.00433",
     .formula =
         R"(MLPs    W(x) = W_0 + sum_i g_i tau_i  for weights and biases of fc1 and fc2,   g = mean over tokens (causal models: those so far) of router(x_token)
others  theta = theta_0 + scale * sum_i tau_i
router: 0, 1 or 2 layers; its last bias starts at scale, so that training starts at task arithmetic)",
     .family = Family::kRouting,
     .grain = Grain::kWholeModel,
     .needs = {Need::kPretrained, Need::kTestInputs, Need::kGradients},
     .demands = {Demand::kBlocks, Demand::kDistribution},
     .yields = Yields::kRoutedModel,
     .random = true,
     .cost = Cost::kTraining},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::wemoe
