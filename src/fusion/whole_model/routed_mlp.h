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

// Which tokens of an input decide its gates.
struct GateRows {
  at::Tensor lengths = {};    // int64 [n]: how many of a row count; undefined: all
  bool causal = false;        // a token's gates are decided by itself and those in front of it
  bool batch_reduce = false;  // gates are the mean of those of all inputs of the batch
};

// Gates of the MLP's inputs x [n, tokens, width]: affine layers with ReLU between them, and the mean of what they give
// over the tokens that decide: [n, 1, experts], the same for all tokens, or of causal ones [n, tokens, experts]. A
// single layer without a weight gives its bias to every example.
at::Tensor router_gates(const std::vector<RouterLayer>& layers, const at::Tensor& x, const GateRows& rows);

// The block's MLP with W(x) = W_0 + sum_i gates[x, i] tau_i of each token x for its weights and biases, without
// building W(x). base: the tensors of the MLP; taus: the experts' differences to them under the same names. Source:
// Tang et al., "Merging Multi-Task Models via Weight-Ensembling Mixture of Experts", ICML 2024, arXiv:2402.00433.
at::Tensor routed_mlp(const Blocks& blocks, int64_t block, const Weights& base,
                      const std::vector<Weights>& taus, const at::Tensor& gates, const at::Tensor& x);

// Where the rank-one experts of a weight are, one for each gate: column j of `left` [out, gates] and of `right` [in,
// gates].
struct RankOneNames {
  explicit RankOneNames(const std::string& weight) : left(weight + "/left"), right(weight + "/right") {}
  std::string left, right;
};

// The block's MLP with W(x) = W_0 + sum_j gates[x, j] left_j right_j^T of each token x in the weights of its layers,
// and the biases of `base`, without building W(x). experts: the factors of the layers that have some, by RankOneNames.
at::Tensor rank_one_mlp(const Blocks& blocks, int64_t block, const Weights& base, const Weights& experts,
                        const at::Tensor& gates, const at::Tensor& x);

}  // namespace fusegrid
