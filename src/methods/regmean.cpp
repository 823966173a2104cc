// RegMean: the linear layer that answers each expert's inputs as that expert does, in the least-squares sense, for
// every linear layer inside the blocks; all other tensors are averaged.
//
// Source:  Jin et al., "Dataless Knowledge Fusion by Merging Weights of Language Models", ICLR 2023,
//          arXiv:2212.09849.
// Differs: solved in float64 around the average (regression_mean.h; the original inverts G in float32). Layers with a
//          common input (q, k, v) share one Gram matrix.
// Cost:    256 inputs forward per expert, shared between cells; one solve per linear layer.

#include "fusion/fusion_input.h"
#include "fusion/subspaces/regression_mean.h"

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

FusedModel fuse(const FusionInput& in, const Options& options) {
  std::vector<std::shared_ptr<const Weights>> grams;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    grams.push_back(in.gram(i, options.examples));
  }
  std::map<std::string, std::string> input_of;  // weight's name -> key of its Gram matrix
  for (const Layer& layer : in.network().architecture->layers()) {
    input_of.emplace(layer.weight, layer.input);
  }
  return one_model(in.map_matrices([&](const Slice& slice) {
    const auto input = input_of.find(slice.name());
    if (input == input_of.end()) {
      return mean_of(slice.expert_views());
    }
    std::vector<at::Tensor> of_layer;
    for (const auto& gram : grams) {
      of_layer.push_back(gram->at(input->second));
    }
    return regression_mean(slice.experts(), of_layer, options.ratio, options.ridge);
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
