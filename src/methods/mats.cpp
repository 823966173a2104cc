// MaTS: match the models in their task parameter subspaces. Every layer is the solution of sum_i C_i theta = sum_i C_i
// theta_i, where C_i says how much expert i minds a change of it, found by conjugate gradients from another merge on.
//
// Source:  Tam, Bansal & Raffel, "Merging by Matching Models in Task Parameter Subspaces", TMLR 2024, arXiv:2312.04339,
//          and the authors' code: the start of theirs that does best (task arithmetic), its stopping rule, its factor
//          of off-diagonal entries and the average for all other tensors. blocks=gram has the equations of RegMean.
// Differs: float64 throughout. The gradients' factors take classes that the expert itself answers instead of labels,
//          and its Gram matrices 256 examples. What is left of the equations is a fact of the result ("residual").
//          Fisher's diagonal as C_i needs no iterations: that is `fisher`.
// Cost:    256 inputs forward per expert, for kfac 256 backward passes more; two (kfac: 2 N) products per layer and
//          iteration.

#include <algorithm>
#include <map>
#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros_like.h>

#include "core/text.h"
#include "fusion/fusion_input.h"
#include "fusion/subspaces/conjugate_gradients.h"

namespace fusegrid::methods::mats {
namespace {

struct Options {
  std::string blocks = "kfac";
  int64_t examples = 256;
  double ratio = 1;
  std::string init = "task_arithmetic";
  double init_scale = 0.3;
  int64_t iterations = 100;
  double tolerance = 1e-5;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("blocks", blocks, Choices{"kfac", "gram"},
            "C_i of a layer: Kronecker's product of its gradients' and inputs' Gram matrices, or the inputs' "
            "alone");
    v.param("examples", examples, Range{1, 1e6}, "unlabelled training inputs per expert");
    v.param("ratio", ratio, Range{0, 1}, "factor of the off-diagonal entries of all Gram matrices");
    v.param("init", init, Choices{"task_arithmetic", "ties", "tsv_m", "iso_c", "average", "pretrained"},
            "the merge that the iterations start at");
    v.param("init_scale", init_scale, Range{-2, 10}, "scale of that merge, where it has one");
    v.param("iterations", iterations, Range{0, 1e6}, "iterations per layer at most");
    v.param(
        "tolerance", tolerance, Range{0, 1},
        "a layer's iterations end where what is left of its equations is this fraction of their right side");
  }
  // The gradients' factors are those of a distribution.
  std::set<Demand> demands() const {
    return blocks == "kfac" ? std::set<Demand>{Demand::kDistribution} : std::set<Demand>{};
  }
};

// C_i: W -> output W input; output undefined: the identity.
struct Block {
  at::Tensor input;   // [in, in]
  at::Tensor output;  // [out, out]
  at::Tensor operator()(const at::Tensor& weight) const {
    const at::Tensor product = at::matmul(weight, input);
    return output.defined() ? at::matmul(output, product) : product;
  }
};

// Iterations make differences of rounding larger: sums are in the order of the experts' names, whatever that of the
// experts is.
std::vector<size_t> experts_by_name(const FusionInput& in) {
  std::vector<size_t> order(in.num_experts());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return in.expert_names()[a] < in.expert_names()[b]; });
  return order;
}

at::Tensor shrunk(const at::Tensor& gram, double ratio) {
  return ratio == 1 ? gram : gram * ratio + gram.diagonal().diag() * (1 - ratio);
}

// Those of the experts in that order, by the weight's name.
std::map<std::string, std::vector<Block>> blocks_of(const FusionInput& in, const std::vector<size_t>& order,
                                                    const Options& options) {
  std::map<std::string, std::vector<Block>> blocks;
  for (const size_t i : order) {
    const auto grams = in.gram(i, options.examples);
    const auto gradients = options.blocks == "kfac" ? in.gradient_gram(i, options.examples) : nullptr;
    for (const Layer& layer : in.network().architecture->layers()) {
      Block block{shrunk(grams->at(layer.input), options.ratio), {}};
      if (gradients != nullptr) {
        block.output = shrunk(gradients->at(layer.name), options.ratio);
      }
      blocks[layer.weight].push_back(block);
    }
  }
  return blocks;
}

// sum_i C_i W = sum_i C_i W_i
Solution solve(const Slice& slice, const std::vector<size_t>& order, const std::vector<Block>& blocks,
               const at::Tensor& start, const Options& options) {
  at::Tensor right = at::zeros_like(start);
  for (size_t i = 0; i < blocks.size(); ++i) {
    right.add_(blocks[i](slice.expert(order[i]).to(at::kDouble)));
  }
  const auto apply = [&](const at::Tensor& weight) {
    at::Tensor sum = at::zeros_like(weight);
    for (const Block& block : blocks) {
      sum.add_(block(weight));
    }
    return sum;
  };
  return conjugate_gradients(apply, right, start, options.iterations, options.tolerance);
}

using Start = std::function<at::Tensor(const Slice&)>;

// sum_i theta_i, float64
at::Tensor sum_of_experts(const Slice& slice, const std::vector<size_t>& order) {
  at::Tensor sum = at::zeros_like(slice.expert(0), at::kDouble);
  for (const size_t i : order) {
    sum.add_(slice.expert(i));
  }
  return sum;
}

// Where the iterations start, float64.
Start start_of(const FusionInput& in, const std::vector<size_t>& order, const Options& options) {
  const auto experts = static_cast<double>(order.size());
  const double scale = options.init_scale;
  if (options.init == "average") {
    return [=](const Slice& slice) { return sum_of_experts(slice, order) / experts; };
  }
  if (options.init == "pretrained") {
    return [](const Slice& slice) { return slice.base().to(at::kDouble); };
  }
  if (options.init == "task_arithmetic") {
    return [=](const Slice& slice) {
      return slice.base().to(at::kDouble) * (1 - scale * experts) + sum_of_experts(slice, order) * scale;
    };
  }
  const Field direction = method_registry().at(options.init).direction(in, {});
  return [=](const Slice& slice) {
    return add_scaled(slice.base_view(), slice[direction], scale).to(at::kDouble);
  };
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  const std::vector<size_t> order = experts_by_name(in);
  const auto blocks = blocks_of(in, order, options);
  const Start start = start_of(in, order, options);
  std::pair<double, std::string> worst;
  int64_t iterations = 0;
  FusedModel fused = one_model(in.map_matrices([&](const Slice& slice) {
    const auto of_layer = blocks.find(slice.name());
    if (of_layer == blocks.end()) {
      return mean_of(slice.expert_views());
    }
    const Solution solution = solve(slice, order, of_layer->second, start(slice), options);
    worst = std::max(worst, {solution.residual, slice.name()});
    iterations = std::max(iterations, solution.iterations);
    in.tick();
    return solution.x.to(at::kFloat);
  }));
  fused.facts["residual"] = number_text(worst.first) + " at most, in " + worst.second;
  fused.facts["iterations"] = number_text(iterations) + " at most";
  return fused;
}

const RegisterMethod<Options> registered{
    {.name = "mats",
     .title = "MaTS",
     .paper = "Tam et al., TMLR 2024, arXiv:2312.04339",
     .formula = R"(layers  sum_i C_i(W) = sum_i C_i(W_i),   by conjugate gradients from the method `init` on
        kfac  C_i(W) = B_i W A_i      gram  C_i(W) = W A_i
        A_i = X_i^T X_i / rows,   B_i = sum_rows g^T g / examples,   g: gradient of log p by a row of the output,
        off their diagonals times `ratio`
others  theta = mean_i theta_i)",
     .family = Family::kStatistics,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained, Need::kTrainInputs, Need::kGradients},
     .demands = {Demand::kLayers},
     .cost = Cost::kForwardPasses},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::mats
