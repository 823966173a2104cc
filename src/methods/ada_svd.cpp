// AdaSVD: task arithmetic whose coefficients are of a layer and an expert, the mean share of the layer's inputs that
// answer to the expert's leading input directions.
//
// Source:  FusionBench's AdaSVD, an experiment of the authors of SMILE (Tang et al., 2024, arXiv:2408.10174): its
//          routed model with all experts at once, folded back into linear layers.
// Differs: singular triplets that are rounding (svd.h) are no input directions; the inputs are the first of the
//          shuffled training split. In a model that answers in tokens the answers are those of the routed model.
// Grain:   whole model: the shares are those of a forward pass through the routed model.
// Cost:    the SVDs that all subspace methods share; 256 inputs of each task forward, N products beside each layer.

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/add.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/nonzero.h>

#include "fusion/whole_model/routed_layers.h"
#include "models/feeder.h"

namespace fusegrid::methods::ada_svd {
namespace {

constexpr int64_t kBatch = 256;

struct Options {
  int64_t examples = 256;
  int64_t gate_rank = 16;
  double factor = 1;
  bool average_others = false;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("examples", examples, Range{1, 1e6}, "unlabelled training inputs per expert");
    v.param("gate_rank", gate_rank, Range{1, 1e6}, "right singular vectors that answer for an expert");
    v.param("factor", factor, Range{-2, 20}, "of the shares, which sum to 1 over the experts");
    v.param("average_others", average_others,
            "average the tensors outside the linear layers, not the base's");
  }
};

// Sums of the experts' shares over the rows that the layers of the routed model read.
class Shares {
 public:
  explicit Shares(const LayersWithExperts& model) : model_(model) {}

  // counted: the inputs of a pass whose shares are to be added; null: of another one.
  Pass routing(const Inputs* counted) {
    return {[this, counted](const Layer& layer, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias) {
      const at::Tensor y = at::linear(x, weight, bias);
      const auto experts = model_.layers.find(layer.name);
      if (experts == model_.layers.end()) {
        return y;
      }
      const at::Tensor rows = x.to(at::kFloat);
      const at::Tensor shares = expert_shares(experts->second, rows);
      if (counted != nullptr) {
        count(layer, shares, counting_rows(layer, *counted, x));
      }
      return y + expert_sum(experts->second, shares, rows).to(y.dtype());
    }};
  }

  // Whether some pass reads it: a question to a tower of two senses reads no head of pairs.
  bool is_read(const std::string& layer) const { return sums_.contains(layer); }
  // [experts], float64
  at::Tensor mean(const std::string& layer) const { return sums_.at(layer) / rows_.at(layer); }

 private:
  void count(const Layer& layer, const at::Tensor& shares, const at::Tensor& counting) {
    at::Tensor flat = shares.reshape({-1, shares.size(-1)}).to(at::kDouble);
    if (counting.defined()) {
      flat = flat.index_select(0, at::nonzero(counting.reshape({-1})).squeeze(1));
    }
    at::Tensor& sum = sums_[layer.name];
    sum = sum.defined() ? sum + flat.sum(0) : flat.sum(0);
    rows_[layer.name] += static_cast<double>(flat.size(0));
  }

  const LayersWithExperts& model_;
  std::map<std::string, at::Tensor> sums_;
  std::map<std::string, double> rows_;
};

void add_shares(const FusionInput& in, const Options& options, const Weights& held, Shares& shares) {
  const Network& network = in.network();
  for (size_t i = 0; i < in.num_experts(); ++i) {
    const std::vector<std::string> tasks = in.tasks_of(i);
    for (const std::string& task : tasks) {
      const auto count = std::max<int64_t>(1, options.examples / static_cast<int64_t>(tasks.size()));
      const Asker output = [&](const Inputs& ready, Memory* memory) {
        Pass pass = shares.routing(nullptr);
        pass.memory = memory;
        return network.output(held, ready, task, pass);
      };
      feed(network, in.train_inputs(task, count), kBatch, [&](const Inputs& ready, const at::Tensor&) {
        const Inputs completed = in.kind(task).completed(ready, output);
        network.features(held, completed, shares.routing(&completed));
        in.tick();
      });
    }
  }
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  const at::NoGradGuard no_grad;
  const PrecisionScope scope(in.network().precision);
  LayersWithExperts model = layers_with_experts(in, 0, options.gate_rank, options.average_others);
  Shares shares(model);
  add_shares(in, options, rounded(model.base, in.network().precision), shares);
  for (const auto& [layer, experts] : model.layers) {
    if (!shares.is_read(layer)) {
      continue;
    }
    const at::Tensor mean = shares.mean(layer) * options.factor;
    for (size_t i = 0; i < experts.size(); ++i) {
      const auto share = mean[static_cast<int64_t>(i)].item<double>();
      at::Tensor& weight = model.base.at(layer + ".weight");
      weight = at::add(weight, experts[i].left.view_as(weight), share);
      if (experts[i].bias.defined()) {
        at::Tensor& bias = model.base.at(layer + ".bias");
        bias = at::add(bias, experts[i].bias, share);
      }
    }
  }
  return one_model(std::move(model.base));
}

const RegisterMethod<Options> registered{
    {.name = "ada_svd",
     .title = "AdaSVD",
     .paper = "FusionBench; after Tang et al., 2024, arXiv:2408.10174",
     .formula = R"(layers  theta = theta_0 + factor * sum_i mean_x(rho_i(x)) tau_i
        rho(x) = softmax_i | V_i^T x |,   V_i: the gate_rank leading right vectors of tau_i
        x: what the layer reads in the model whose layers answer W_0 x + b_0 + sum_i rho_i(x) tau_i(x)
others  theta = theta_0 (or the experts' average), and layers that no expert changed or no task reads)",
     .family = Family::kStatistics,
     .grain = Grain::kWholeModel,
     .needs = {Need::kPretrained, Need::kTrainInputs},
     .demands = {Demand::kLayers},
     .cost = Cost::kForwardPasses},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::ada_svd
