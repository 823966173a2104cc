// Model recombination: draw each tensor (or each layer) of the merged model from one of the experts. A
// baseline: what mixing without any arithmetic gives.
//
// Source:  Hu et al., "FedMR: Federated Learning via Model Recombination", 2022, arXiv:2208.07677;
//          FusionBench.
// Differs: FusionBench shuffles into N recombined models with an unseeded generator and hands out the first
//          of them (or all); here the seed gives the first one, whatever the order of the experts.
// Cost:    one pass over N experts.

#include <algorithm>
#include <cctype>

#include "core/philox.h"
#include "fusion/fusion_input.h"

namespace fusegrid::methods::model_recombination {
namespace {

struct Options {
  std::string unit = "tensor";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("unit", unit, Choices{"tensor", "layer"},
            "what is drawn as a whole; a layer is all tensors whose names agree up to their first number");
  }
};

// "encoder.layers.3.mlp.fc1.weight" -> "encoder.layers.3"; names without a number: the name.
std::string layer_of(const std::string& tensor) {
  size_t begin = 0;
  while (begin < tensor.size()) {
    const size_t end = std::min(tensor.find('.', begin), tensor.size());
    const std::string part = tensor.substr(begin, end - begin);
    if (!part.empty() && std::isdigit(static_cast<unsigned char>(part.front())) != 0) {
      return tensor.substr(0, end);
    }
    begin = end + 1;
  }
  return tensor;
}

// The expert whose random number for this unit is the smallest: a fair draw that does not know their order.
size_t drawn_expert(const FusionInput& in, const std::string& unit) {
  size_t drawn = 0;
  uint64_t smallest = ~uint64_t{0};
  for (size_t i = 0; i < in.num_experts(); ++i) {
    const uint64_t number = derive_key(in.seed(), "model_recombination/" + unit + "/" + in.expert_names()[i]);
    if (number < smallest) {
      smallest = number;
      drawn = i;
    }
  }
  return drawn;
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  std::vector<size_t> source;
  for (const TensorInfo& info : in.tensors()) {
    source.push_back(drawn_expert(in, options.unit == "layer" ? layer_of(info.name) : info.name));
  }
  return one_model(
      in.map_elements([&](const Slice& slice) { return slice.expert(source[slice.tensor_index]); }));
}

const RegisterMethod<Options> registered{
    {.name = "model_recombination",
     .title = "Model Recombination",
     .paper = "Hu et al., 2022, arXiv:2208.07677",
     .formula = "theta[tensor] = theta_i[tensor],   i drawn uniformly per tensor or layer",
     .family = Family::kAveraging,
     .random = true},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::model_recombination
