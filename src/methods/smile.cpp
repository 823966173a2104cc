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

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros_like.h>

#include "fusion/subspaces/svd.h"

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

// What one expert adds to a linear layer, y += (x right) left^T + bias.
struct LowRank {
  at::Tensor left;   // [out, rank], or the whole task vector [out, in] without `right`
  at::Tensor right;  // [in, rank] or undefined
  at::Tensor bias;   // [out] or undefined
  at::Tensor gate;   // [in, gate rank]
};

class RoutedLayers final : public Predictor {
 public:
  RoutedLayers(Weights base, std::map<std::string, std::vector<LowRank>> layers, int64_t top_k)
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
  // Weight of each expert per token, [..., experts]: softmax over |gate^T x| of the top_k_ experts, else 0.
  at::Tensor gates(const std::vector<LowRank>& experts, const at::Tensor& x) const {
    std::vector<at::Tensor> answers;
    for (const LowRank& expert : experts) {
      answers.push_back(at::matmul(x, expert.gate).norm(2, {-1}));
    }
    const at::Tensor shares = at::softmax(at::stack(answers, -1), -1);
    const auto [largest, chosen] = at::topk(shares, top_k_, -1);
    return at::zeros_like(shares).scatter_(-1, chosen, largest / largest.sum({-1}, true));
  }

  at::Tensor routed(const std::vector<LowRank>& experts, const at::Tensor& x) const {
    const at::Tensor weights = gates(experts, x);
    at::Tensor sum;
    for (size_t i = 0; i < experts.size(); ++i) {
      const LowRank& expert = experts[i];
      const at::Tensor inner = expert.right.defined() ? at::matmul(x, expert.right) : x;
      const at::Tensor weighted = at::linear(inner, expert.left, expert.bias) *
                                  weights.select(-1, static_cast<int64_t>(i)).unsqueeze(-1);
      sum = i == 0 ? weighted : sum + weighted;
    }
    return sum;
  }

  Weights base_;
  std::map<std::string, std::vector<LowRank>> layers_;
  int64_t top_k_;
};

// The parts of all layers that some expert changed, layer's name -> experts.
using Layers = std::map<std::string, std::vector<LowRank>>;

LowRank low_rank(const FusionInput& in, const Slice& slice, size_t expert, const Options& options) {
  const Svd svd = task_vector_svd(in, slice, expert);
  LowRank part;
  part.gate = svd.first(options.gate_rank).v.to(at::kFloat).contiguous();
  if (options.rank == 0) {
    part.left = slice.task_vector(expert);
  } else {
    const Svd kept = svd.first(options.rank);
    part.left = (kept.u * kept.s).to(at::kFloat);
    part.right = kept.v.to(at::kFloat).contiguous();
  }
  return part;
}

bool changed_by_any(const Slice& slice) {
  const auto experts = slice.experts();
  return std::any_of(experts.begin(), experts.end(),
                     [&](const at::Tensor& expert) { return !expert.equal(slice.base()); });
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  const Weights& origin = in.base();
  std::set<std::string> linear;
  for (const Layer& layer : in.network().architecture->layers()) {
    linear.insert(layer.name);
  }
  Layers layers;
  Weights base = in.map_tensors([&](const Slice& slice) -> at::Tensor {
    const std::string name = slice.name().substr(0, slice.name().rfind('.'));
    if (!linear.contains(name)) {
      return options.average_others ? mean_of(slice.expert_views()) : slice.base().clone();
    }
    if (slice.name().ends_with(".weight") && changed_by_any(slice)) {
      for (size_t i = 0; i < slice.num_experts(); ++i) {
        layers[name].push_back(low_rank(in, slice, i, options));
      }
    }
    return slice.base().clone();
  });
  for (auto& [name, experts] : layers) {
    const auto bias = origin.find(name + ".bias");
    for (size_t i = 0; bias != origin.end() && i < experts.size(); ++i) {
      experts[i].bias = in.expert(i).at(name + ".bias") - bias->second;
    }
  }
  auto model = std::make_shared<RoutedLayers>(std::move(base), std::move(layers), options.top_k);
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
