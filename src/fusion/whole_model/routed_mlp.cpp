#include "fusion/whole_model/routed_mlp.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>

#include "models/operators.h"

namespace fusegrid {

at::Tensor router_gates(const std::vector<RouterLayer>& layers, const at::Tensor& x,
                        const at::Tensor& lengths, bool batch_reduce) {
  if (!layers.front().weight.defined()) {
    return layers.front().bias.expand({x.size(0), -1});
  }
  at::Tensor gates = x;
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    gates = at::linear(layer == 0 ? gates : at::relu(gates), layers[layer].weight, layers[layer].bias);
  }
  const at::Tensor of_example = pooled(gates, lengths, Pooling::kMean);
  return batch_reduce ? of_example.mean(0, /*keepdim=*/true).expand_as(of_example) : of_example;
}

at::Tensor routed_mlp(const Blocks& blocks, int64_t block, const Weights& base,
                      const std::vector<Weights>& taus, const at::Tensor& gates, const at::Tensor& x) {
  const Pass mixed{[&](const Layer& layer, const at::Tensor& input, const at::Tensor& weight,
                       const at::Tensor& bias) {
    at::Tensor y = at::linear(input, weight, bias);
    for (size_t i = 0; i < taus.size(); ++i) {
      y = y + apply(layer, taus[i], input, {}) * gates.select(1, static_cast<int64_t>(i)).view({-1, 1, 1});
    }
    return y;
  }};
  return blocks.mlp(base, block, x, mixed);
}

}  // namespace fusegrid
