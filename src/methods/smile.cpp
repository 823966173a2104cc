// SMILE: keep the base and add to every linear layer the low-rank task vectors of the experts whose leading input
// directions answer a token most.
//
// Source:  Tang et al., "SMILE: Zero-Shot Sparse Mixture of Low-Rank Experts Construction From Pre-Trained Foundation
//          Models", 2024, arXiv:2408.10174.
// Differs: all experts of a layer are computed and weighted by zero where they are not chosen: the same numbers.
//          Singular triplets that are rounding (svd.h) are left out. Layers inside the blocks only, which are all
//          linear layers of the architectures here.
// Grain:   whole model: what it returns is no set of weights of the architecture but layers that route.
// Cost:    the SVDs that all subspace methods share; inference adds N products of rank `rank` per layer.

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros_like.h>

#include "fusion/whole_model/routed_layers.h"

namespace fusegrid::methods::smile {
namespace {

struct Options {
  int64_t rank = 128;
  int64_t gate_rank = 1;
  int64_t top_k = 1;
  bool average_others = false;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("rank", rank, Range{0, 1e6}, "singular triplets of each expert; 0: the whole task vector");
    v.param("gate_rank", gate_rank, Range{1, 1e6}, "right singular vectors that answer for an expert");
    v.param("top_k", top_k, Range{1, 1e6}, "experts per token and layer");
    v.param("average_others", average_others,
            "average the tensors outside the linear layers, not the base's");
  }
  void check(int64_t experts) const {
    if (top_k > experts) {
      throw ConfigError("method 'smile' chooses at most all experts: top_k is " + std::to_string(top_k) +
                        ", but there are " + std::to_string(experts) + "; lower it");
    }
  }
};

class RoutedLayers final : public Predictor {
 public:
  RoutedLayers(Weights base, std::map<std::string, ExpertParts> layers, int64_t top_k)
      : base_(std::move(base)), layers_(std::move(layers)), top_k_(top_k) {}

  at::Tensor output(const Network& network, const Inputs& inputs, const Ask& ask) const override {
    const Pass routing{
        [this](const Layer& layer, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
          const at::Tensor y = at::linear(x, weight, bias);
          const auto experts = layers_.find(layer.name);
          // the low-rank parts stay float32, whatever the precision of the base is
          return experts == layers_.end()
                     ? y
                     : y + routed(experts->second, x.to(experts->second.front().left.dtype())).to(y.dtype());
        }};
    return network.output(base_, inputs, ask.head, routing);
  }

  std::shared_ptr<const Predictor> held_in(Precision precision) const override {
    return std::make_shared<RoutedLayers>(rounded(base_, precision), layers_, top_k_);
  }

  Weights weights() const override {
    Weights all = base_;
    for (const auto& [name, experts] : layers_) {
      for (size_t i = 0; i < experts.size(); ++i) {
        const std::string prefix = name + "/expert" + std::to_string(i) + "/";
        for (const auto& [part, tensor] : std::map<std::string, at::Tensor>{{"left", experts[i].left},
                                                                            {"right", experts[i].right},
                                                                            {"bias", experts[i].bias},
                                                                            {"gate", experts[i].gate}}) {
          if (tensor.defined()) {
            all.emplace(prefix + part, tensor);
          }
        }
      }
    }
    return all;
  }

 private:
  // Weight of each expert per token, [..., experts]: the shares of the top_k_ experts scaled to sum 1, else 0.
  at::Tensor gates(const ExpertParts& experts, const at::Tensor& x) const {
    const at::Tensor shares = expert_shares(experts, x);
    const auto [largest, chosen] = at::topk(shares, top_k_, -1);
    return at::zeros_like(shares).scatter_(-1, chosen, largest / largest.sum({-1}, true));
  }

  at::Tensor routed(const ExpertParts& experts, const at::Tensor& x) const {
    return expert_sum(experts, gates(experts, x), x);
  }

  Weights base_;
  std::map<std::string, ExpertParts> layers_;
  int64_t top_k_;
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  LayersWithExperts parts = layers_with_experts(in, options.rank, options.gate_rank, options.average_others);
  auto model = std::make_shared<RoutedLayers>(std::move(parts.base), std::move(parts.layers), options.top_k);
  const auto stored = static_cast<double>(num_parameters(model->weights()));
  return {model, stored, {}};
}

const RegisterMethod<Options> registered{
    {.name = "smile",
     .title = "SMILE",
     .paper = "Tang et al., 2024, arXiv:2408.10174",
     .formula =
         R"(per linear layer and token x:  y = W_0 x + b_0 + sum_(i in top k) rho_i (U_i S_i V_i^T x + b_i - b_0)
tau_i = U_i S_i V_i^T cut to `rank` triplets
rho = softmax_i | V_i,gate^T x |  over its gate_rank leading right vectors, the top_k of it scaled to sum 1
layers that no expert changed, and all other tensors: the base's (or the experts' average))",
     .family = Family::kRouting,
     .grain = Grain::kWholeModel,
     .needs = {Need::kPretrained},
     .demands = {Demand::kLayers},
     .yields = Yields::kRoutedModel,
     .cost = Cost::kMatrix},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::smile
