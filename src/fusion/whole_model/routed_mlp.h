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

// Gates [batch, experts] of the inputs `normed` [batch, tokens, width]: the mean over an image's tokens of
// affine layers with ReLU between them. A single layer without a weight gives its bias to every image.
// batch_reduce: also the mean over the batch.
at::Tensor router_gates(const std::vector<RouterLayer>& layers, const at::Tensor& normed, bool batch_reduce);

// The block's MLP with W(x) = W_0 + sum_i gates[x, i] tau_i for its weights and biases, without building
// W(x). base: the tensors of the MLP; taus: the experts' differences to them under the same names. Source:
// Tang et al., "Merging Multi-Task Models via Weight-Ensembling Mixture of Experts", ICML 2024,
// arXiv:2402.00433.
at::Tensor routed_mlp(const Architecture& architecture, int64_t block, const Weights& base,
                      const std::vector<Weights>& taus, const at::Tensor& gates, const at::Tensor& normed);

}  // namespace fusegrid
