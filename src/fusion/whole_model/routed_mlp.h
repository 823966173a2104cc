// The MLP of a block whose weights are mixed per input: what WEMoE and its relatives share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/weights.h"
#include "models/architecture.h"

namespace fusegrid {

struct RouterLayer {
  at::Tensor weight;  // [out, in]; undefined in a router whose gates do not depend on the input
  at::Tensor bias;    // [out]
};

// Gates [n, experts] of the MLP's inputs x [n, tokens, width]: the mean over the tokens that count (lengths, int64 [n];
// undefined: all) of affine layers with ReLU between them. A single layer without a weight gives its bias to every
// example. batch_reduce: also the mean over the batch.
at::Tensor router_gates(const std::vector<RouterLayer>& layers, const at::Tensor& x,
                        const at::Tensor& lengths, bool batch_reduce);

// The block's MLP with W(x) = W_0 + sum_i gates[x, i] tau_i for its weights and biases, without building
// W(x). base: the tensors of the MLP; taus: the experts' differences to them under the same names. Source:
// Tang et al., "Merging Multi-Task Models via Weight-Ensembling Mixture of Experts", ICML 2024,
// arXiv:2402.00433.
at::Tensor routed_mlp(const Blocks& blocks, int64_t block, const Weights& base,
                      const std::vector<Weights>& taus, const at::Tensor& gates, const at::Tensor& x);

}  // namespace fusegrid
