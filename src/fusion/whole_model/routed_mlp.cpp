#include "fusion/whole_model/routed_mlp.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/relu.h>

#include "models/operators.h"

namespace fusegrid {
namespace {

// Of each token of x [n, tokens, columns], over it and those in front of it.
at::Tensor mean_so_far(const at::Tensor& x) {
  const at::Tensor counts = at::arange(1, x.size(1) + 1, x.options()).view({1, -1, 1});
  return at::cumsum(x, 1) / counts;
}

// Of the n-th tokens of x [n, tokens, columns] that count.
at::Tensor mean_over_batch(const at::Tensor& x, const at::Tensor& lengths) {
  const at::Tensor counting = (at::arange(x.size(1), lengths.options()).unsqueeze(0) < lengths.unsqueeze(1))
                                  .to(x.dtype())
                                  .unsqueeze(2);
  return ((x * counting).sum(0, /*keepdim=*/true) / counting.sum(0, /*keepdim=*/true).clamp_min(1))
      .expand_as(x);
}

}  // namespace

at::Tensor router_gates(const std::vector<RouterLayer>& layers, const at::Tensor& x, const GateRows& rows) {
  if (!layers.front().weight.defined()) {
    return layers.front().bias.expand({x.size(0), 1, -1});
  }
  at::Tensor gates = x;
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    gates = at::linear(layer == 0 ? gates : at::relu(gates), layers[layer].weight, layers[layer].bias);
  }
  if (rows.causal) {
    return rows.batch_reduce ? mean_over_batch(mean_so_far(gates), rows.lengths) : mean_so_far(gates);
  }
  const at::Tensor of_example = pooled(gates, rows.lengths, Pooling::kMean).unsqueeze(1);
  return rows.batch_reduce ? of_example.mean(0, /*keepdim=*/true).expand_as(of_example) : of_example;
}

at::Tensor routed_mlp(const Blocks& blocks, int64_t block, const Weights& base,
                      const std::vector<Weights>& taus, const at::Tensor& gates, const at::Tensor& x) {
  const Pass mixed{
      [&](const Layer& layer, const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias) {
        at::Tensor y = at::linear(input, weight, bias);
        for (size_t i = 0; i < taus.size(); ++i) {
          y = y + apply(layer, taus[i], input, {}) * gates.narrow(2, static_cast<int64_t>(i), 1);
        }
        return y;
      }};
  return blocks.mlp(base, block, x, mixed);
}

at::Tensor rank_one_mlp(const Blocks& blocks, int64_t block, const Weights& base, const Weights& experts,
                        const at::Tensor& gates, const at::Tensor& x) {
  const Pass mixed{
      [&](const Layer& layer, const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias) {
        const at::Tensor y = at::linear(input, weight, bias);
        const RankOneNames names(layer.weight);
        const auto right = experts.find(names.right);
        return right == experts.end()
                   ? y
                   : y + at::linear(at::matmul(input, right->second) * gates, experts.at(names.left));
      }};
  return blocks.mlp(base, block, x, mixed);
}

}  // namespace fusegrid
