// Linear layers that add low-rank task vectors of experts, token by token: what SMILE and its relatives share.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "fusion/fusion_input.h"

namespace fusegrid {

// What one expert adds to a linear layer, y += (x right) left^T + bias. float32.
struct ExpertPart {
  at::Tensor left;   // [out, rank], or the whole task vector [out, in] without `right`
  at::Tensor right;  // [in, rank] or undefined
  at::Tensor bias;   // [out] or undefined
  at::Tensor gate;   // [in, gate rank], orthonormal columns: the input directions that answer for the expert
};
using ExpertParts = std::vector<ExpertPart>;

// A model whose linear layers have experts beside them.
struct LayersWithExperts {
  Weights base;  // the base's, or of tensors outside the layers the experts' average
  std::map<std::string, ExpertParts> layers;  // by the layer's name, of those that some expert changed
};

// rank: singular triplets of each expert, 0: the whole task vector; gate_rank: leading right vectors that make a gate.
// Needs the base and Grain::kWholeModel. Source: Tang et al., "SMILE", 2024, arXiv:2408.10174.
LayersWithExperts layers_with_experts(const FusionInput& in, int64_t rank, int64_t gate_rank,
                                      bool average_others);

// softmax over the experts of |gate^T x|, of each token: x [..., in] -> [..., experts].
at::Tensor expert_shares(const ExpertParts& experts, const at::Tensor& x);
// sum_i shares_i ((x right_i) left_i^T + bias_i): [..., out].
at::Tensor expert_sum(const ExpertParts& experts, const at::Tensor& shares, const at::Tensor& x);

}  // namespace fusegrid
