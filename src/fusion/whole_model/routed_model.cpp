#include "fusion/whole_model/routed_model.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/add.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include "core/concatenate.h"
#include "core/philox.h"
#include "fusion/demands.h"
#include "fusion/passes/selection.h"
#include "fusion/subspaces/svd.h"
#include "fusion/whole_model/adam.h"

namespace fusegrid {
namespace {

// The entries whose magnitude is above the (1 - density) quantile of the tensor's, as torch.quantile has it.
at::Tensor largest_entries(const at::Tensor& tau, double density) {
  if (density == 1) {
    return tau;
  }
  const int64_t last = tau.numel() - 1;
  const auto below = static_cast<int64_t>(std::floor((1 - density) * static_cast<double>(last)));
  return tau * largest_mask(tau.abs(), last - below);
}

// Tensors of one block's router: "router<block>.<layer>.weight|bias".
std::string router_name(int64_t block, int64_t layer, const char* part) {
  return "router" + std::to_string(block) + "." + std::to_string(layer) + "." + part;
}

// Gates of each expert in the layers of a block: as many as a matrix can have singular triplets, `rank` at most.
int64_t rank_one_gates(const FusionInput& in, const std::vector<Layer>& layers, int64_t rank) {
  int64_t most = 0;
  for (const Layer& layer : layers) {
    const at::Tensor& weight = in.base().at(layer.weight);
    most = std::max(most, std::min(weight.size(0), weight.size(1)));
  }
  return std::min(rank, most);
}

// The first triplets of the experts' task vectors of a weight, expert after expert: left vectors times singular values
// and right vectors, with columns of zeros where an expert has fewer than `gates` of them.
void add_rank_one_experts(const FusionInput& in, const Slice& slice, int64_t gates, Weights& experts) {
  std::vector<at::Tensor> left;
  std::vector<at::Tensor> right;
  const auto add = [&](std::vector<at::Tensor>& columns, const at::Tensor& vectors) {
    columns.push_back(vectors.to(at::kFloat));
    columns.push_back(at::zeros({vectors.size(0), gates - vectors.size(1)}, columns.back().options()));
  };
  for (size_t i = 0; i < in.num_experts(); ++i) {
    const Svd svd = task_vector_svd(in, slice, i).first(gates);
    add(left, svd.u * svd.s);
    add(right, svd.v);
  }
  const RankOneNames names(slice.name());
  experts[names.left] = concatenate(left, 1);
  experts[names.right] = concatenate(right, 1);
}

class RoutedModel final : public Predictor {
 public:
  RoutedModel(const FusionInput& in, const RouterOptions& options, RoutedMlps mlps)
      : options_(options), mlps_(std::move(mlps)), experts_(in.num_experts()) {
    const Blocks& blocks = required_blocks(mlps_.method, *in.network().architecture);
    const Field sum = in.task_vector_sum();
    merged_ =
        in.map_elements([&](const Slice& slice) { return at::add(slice.base(), slice[sum], options.scale); });
    std::map<std::string, int64_t> gates_of_weights;
    for (int64_t block = 0; block < blocks.size(); ++block) {
      const std::vector<Layer> layers = blocks.mlp_layers(block);
      const int64_t gates = mlps_.rank == 0 ? 1 : rank_one_gates(in, layers, mlps_.rank);
      for (const Layer& layer : layers) {
        gates_of_weights.emplace(layer.weight, gates);
      }
      add_mlps(in, layers);
      if (router_of(block) == block) {
        add_router(in, block, blocks.width(), gates);
      }
    }
    if (mlps_.rank > 0) {
      add_rank_ones(in, gates_of_weights);
    }
  }

  // Routers stay float32 and are shared, so that training those of the copy trains these.
  RoutedModel copy_held_in(Precision precision) const {
    RoutedModel held = *this;
    held.merged_ = rounded(merged_, precision);
    held.mlp_base_ = rounded(mlp_base_, precision);
    held.rank_ones_ = rounded(rank_ones_, precision);
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
      x = blocks.add_mlp(merged_, block, x,
                         mlps_.rank == 0 ? routed_mlp(blocks, block, mlp_base_, taus, gates, input)
                                         : rank_one_mlp(blocks, block, mlp_base_, rank_ones_, gates, input));
    }
    return blocks.finish(merged_, x, inputs, network.pooling(inputs));
  }
  at::Tensor output(const Network& network, const Inputs& inputs, const Ask& ask) const override {
    return network.read(merged_, features(network, inputs), ask.head);
  }
  const Weights& merged() const { return merged_; }
  Weights weights() const override {
    Weights all = merged_;
    all.insert(mlp_base_.begin(), mlp_base_.end());
    all.insert(rank_ones_.begin(), rank_ones_.end());
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
  // Of pruned task vectors the entries that are there, and a bit for each that may be; of rank-one experts those that
  // are there.
  double stored_parameters() const {
    auto stored =
        static_cast<double>(num_parameters(merged_) + num_parameters(mlp_base_) + num_parameters(routers_));
    for (const auto& block : mlp_taus_) {
      for (const Weights& taus : block) {
        for (const auto& [name, tau] : taus) {
          const auto entries = static_cast<double>(tau.numel());
          stored += mlps_.density == 1 ? entries
                                       : static_cast<double>(tau.ne(0).sum().item<int64_t>()) + entries / 32;
        }
      }
    }
    for (const auto& [name, columns] : rank_ones_) {
      stored += static_cast<double>(columns.ne(0).any(0).sum().item<int64_t>() * columns.size(0));
    }
    return stored;
  }

 private:
  void add_mlps(const FusionInput& in, const std::vector<Layer>& layers) {
    std::vector<Weights>& taus = mlp_taus_.emplace_back(experts_);
    for (const Layer& layer : layers) {
      for (const std::string& name : {layer.weight, layer.bias}) {
        const auto tensor = in.base().find(name);
        if (tensor == in.base().end()) {
          continue;  // a layer without bias
        }
        mlp_base_.emplace(name, mlps_.rank > 0 && name == layer.bias ? merged_.at(name) : tensor->second);
        for (size_t i = 0; mlps_.rank == 0 && i < experts_; ++i) {
          taus[i].emplace(name, largest_entries(in.expert(i).at(name) - tensor->second, mlps_.density));
        }
        merged_.erase(name);  // never read: the routed MLP stands in for it
      }
    }
  }

  // gates: of an expert, by the weight
  void add_rank_ones(const FusionInput& in, const std::map<std::string, int64_t>& gates) {
    in.map_matrices([&](const Slice& slice) -> at::Tensor {
      if (const auto of_weight = gates.find(slice.name()); of_weight != gates.end()) {
        add_rank_one_experts(in, slice, of_weight->second, rank_ones_);
      }
      return slice.base();
    });
  }

  // gates_of_expert: rows of an expert in the router's last layer
  void add_router(const FusionInput& in, int64_t block, int64_t width, int64_t gates_of_expert) {
    const auto options = at::TensorOptions(in.device()).dtype(at::kFloat);
    const auto gates = static_cast<int64_t>(experts_) * gates_of_expert;
    const uint64_t key = derive_key(in.seed(), "wemoe/router");
    for (int64_t layer = 0; layer < options_.layers; ++layer) {
      const bool last = layer + 1 == options_.layers;
      const int64_t outputs = last ? gates : width;
      const auto stream = static_cast<uint64_t>(block * 2 + layer);
      std::vector<at::Tensor>
          rows;  // a gate's row belongs to its expert, so the order of the experts is no matter
      for (size_t i = 0; last && i < experts_; ++i) {
        const uint64_t own = derive_key(in.seed(), "wemoe/gate/" + in.expert_names()[i]);
        rows.push_back(normal(own, stream, 0, gates_of_expert * width).view({gates_of_expert, width}));
      }
      const at::Tensor random =
          last ? concatenate(rows) : normal(key, stream, 0, width * width).view({width, width});
      routers_[router_name(block, layer, "weight")] = (random * 0.01).to(in.device());
      routers_[router_name(block, layer, "bias")] = at::full({outputs}, last ? options_.scale : 0.0, options);
    }
    if (options_.layers == 0) {
      routers_[router_name(block, 0, "bias")] = at::full({gates}, options_.scale, options);
    }
  }

  // The block whose router answers for this one.
  int64_t router_of(int64_t block) const { return mlps_.has_shared_router ? 0 : block; }

  std::vector<RouterLayer> router(int64_t of_block) const {
    const int64_t block = router_of(of_block);
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

  RouterOptions options_;
  RoutedMlps mlps_;
  size_t experts_;
  Weights merged_;                              // everything but the MLPs
  Weights mlp_base_;                            // the base's MLPs
  std::vector<std::vector<Weights>> mlp_taus_;  // [block][expert]: the experts' task vectors of them
  Weights rank_ones_;                           // the leading parts of these instead, by RankOneNames
  Weights routers_;
};

void train_routers(const FusionInput& in, const RouterOptions& options, RoutedModel& model) {
  const RoutedModel held = model.copy_held_in(in.network().precision);
  AdaptationStream stream(in, options.batch, "wemoe");
  LeafTraining training(model.routers(), options.lr);
  for (int64_t step = 0; step < options.steps; ++step) {
    const at::AutoGradMode with_gradients(true);
    const PrecisionScope scope(in.network().precision);
    const AdaptationStream::Step next = stream.next([&](const Inputs& ready, Memory*) {
      return held.output(in.network(), ready, {in.tasks().front(), std::nullopt});
    });
    entropy_loss(in, held.merged(), next.by_task, held.features(in.network(), next.inputs)).backward();
    training.step();
    in.tick();
  }
}

}  // namespace

FusedModel mix_by_routers(const FusionInput& in, const RouterOptions& options, const RoutedMlps& mlps) {
  auto model = std::make_shared<RoutedModel>(in, options, mlps);
  train_routers(in, options, *model);
  return {model, model->stored_parameters(), {}};
}

MethodCard router_card(const std::string& name, const std::string& title, const std::string& paper,
                       const std::string& formula) {
  return {.name = name,
          .title = title,
          .paper = paper,
          .formula = formula,
          .family = Family::kRouting,
          .grain = Grain::kWholeModel,
          .needs = {Need::kPretrained, Need::kTestInputs, Need::kGradients},
          .demands = {Demand::kBlocks, Demand::kDistribution},
          .yields = Yields::kRoutedModel,
          .random = true,
          .cost = Cost::kTraining};
}

}  // namespace fusegrid
