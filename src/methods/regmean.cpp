// RegMean: the linear layer that answers each expert's inputs as that expert does, in the least-squares sense, for
// every linear layer inside the blocks; all other tensors are averaged.
//
// Source:  Jin et al., "Dataless Knowledge Fusion by Merging Weights of Language Models", ICLR 2023,
//          arXiv:2212.09849.
// Differs: solved in float64 by Cholesky around the average, W = A + (G + ridge)^-1 (B - G A), so that directions
//          which no input spans keep the average (the original inverts G in float32). Layers with a common input
//          (q, k, v) share one Gram matrix.
// Cost:    256 inputs forward per expert, shared between cells; one solve per linear layer.

#include <ATen/TensorOperators.h>
#include <ATen/ops/cholesky_solve.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_cholesky.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros_like.h>

#include "fusion/fusion_input.h"

namespace fusegrid::methods::regmean {
namespace {

struct Options {
  int64_t examples = 256;
  double ratio = 0.95;
  double ridge = 1e-8;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("examples", examples, Range{1, 1e6}, "unlabelled training inputs per expert");
    v.param("ratio", ratio, Range{0, 1}, "factor of the off-diagonal entries of the Gram matrices");
    v.param("ridge", ridge, Range{1e-14, 1}, "added to the diagonal, in units of its mean");
  }
};

at::Tensor solve(const Slice& slice, const std::vector<at::Tensor>& grams, const at::Tensor& average,
                 const Options& options) {
  const at::Tensor mean = average.to(at::kDouble).t();  // [in, out]
  at::Tensor gram_sum = at::zeros_like(grams[0]);
  at::Tensor right = at::zeros_like(mean);  // sum_i G_i (W_i - mean): zero where the experts agree
  for (size_t i = 0; i < grams.size(); ++i) {
    const at::Tensor gram = grams[i] * options.ratio + grams[i].diagonal().diag() * (1 - options.ratio);
    gram_sum.add_(gram);
    right.add_(at::matmul(gram, slice.expert(i).to(at::kDouble).t() - mean));
  }
  const at::Tensor unit = gram_sum.diagonal().mean().clamp_min(1e-300);
  gram_sum.diagonal().add_(unit * options.ridge);
  const at::Tensor step = at::cholesky_solve(right, at::linalg_cholesky(gram_sum));
  return (mean + step).t().to(at::kFloat);
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  std::vector<std::shared_ptr<const Weights>> grams;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    grams.push_back(in.gram(i, options.examples));
  }
  std::map<std::string, std::string> input_of;  // weight's name -> key of its Gram matrix
  for (const Layer& layer : in.network().architecture->layers()) {
    input_of.emplace(layer.weight, layer.input);
  }
  return one_model(in.map_tensors([&](const Slice& slice) {
    const at::Tensor average = mean_of(slice.expert_views());
    const auto input = input_of.find(slice.name());
    if (input == input_of.end()) {
      return average;
    }
    std::vector<at::Tensor> of_layer;
    for (const auto& gram : grams) {
      of_layer.push_back(gram->at(input->second));
    }
    return solve(slice, of_layer, average, options);
  }));
}

const RegisterMethod<Options> registered{
    {.name = "regmean",
     .title = "RegMean",
     .paper = "Jin et al., ICLR 2023, arXiv:2212.09849",
     .formula = R"(W^T = (sum_i G_i')^-1 sum_i G_i' W_i^T
G_i' = ratio G_i + (1 - ratio) diag(G_i),   G_i = X_i^T X_i / rows)",
     .family = Family::kStatistics,
     .grain = Grain::kTensors,
     .needs = {Need::kTrainInputs},
     .demands = {Demand::kLayers},
     .cost = Cost::kForwardPasses},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::regmean
