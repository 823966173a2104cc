#include "fusion/whole_model/routed_mlp.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>

namespace fusegrid {

at::Tensor router_gates(const std::vector<RouterLayer>& layers, const at::Tensor& normed, bool batch_reduce) {
  if (!layers.front().weight.defined()) {
    return layers.front().bias.expand({normed.size(0), -1});
  }
  at::Tensor x = normed;
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    x = at::linear(layer == 0 ? x : at::relu(x), layers[layer].weight, layers[layer].bias);
  }
  const at::Tensor per_image = x.mean(1);
  return batch_reduce ? per_image.mean(0, /*keepdim=*/true).expand_as(per_image) : per_image;
}

at::Tensor routed_mlp(const Architecture& architecture, int64_t block, const Weights& base,
                      const std::vector<Weights>& taus, const at::Tensor& gates, const at::Tensor& normed) {
  const LinearHook mixed = [&](const std::string& name, const at::Tensor& x, const at::Tensor& weight,
                               const at::Tensor& bias) {
    at::Tensor y = at::linear(x, weight, bias);
    for (size_t i = 0; i < taus.size(); ++i) {
      const at::Tensor of_expert = at::linear(x, taus[i].at(name + ".weight"), taus[i].at(name + ".bias"));
      y = y + of_expert * gates.select(1, static_cast<int64_t>(i)).view({-1, 1, 1});
    }
    return y;
  };
  return architecture.mlp(base, block, normed, mixed);
}

}  // namespace fusegrid
