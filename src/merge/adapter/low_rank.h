#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <ATen/core/Tensor.h>

#include "checkpoint/lora_folder.h"
#include "core/low_rank_factors.h"

namespace fusegrid::adapters {

// How many singular triplets of an update are kept: at most `rank`, and no more than hold `energy` of the sum of the
// squares. What is not given does not limit.
struct RankRule {
  std::optional<int64_t> rank;   // at least 1
  std::optional<double> energy;  // in (0, 1]
};

// ConfigError where the rule has a number out of range, or `rank` is above the smaller side of every matrix that is
// cut; largest: of those sides, of the tensor `name`.
void check_rule(const RankRule& rule, int64_t largest, const std::string& name);

// The nearest matrix of a rank by the rule, in the Frobenius norm.
// Source: Eckart and Young, "The approximation of one matrix by another of lower rank", Psychometrika 1936.
struct LowRankUpdate {
  LowRankFactors factors;  // U S^1/2 and S^1/2 V^T, float32 on the host; scale 1. Rank 0: without entries
  double norm = 0;         // of the update, Frobenius
  double error_norm = 0;   // of the update minus the product of the factors as they are
  double relative_error() const { return norm > 0 ? error_norm / norm : 0; }
};
// update: [rows, columns] of any floating dtype, on any device; what: is said of it, "tensor 'a.weight' of ...". Throws
// DataError where it has NaN or infinity.
LowRankUpdate cut_to_rank(const at::Tensor& update, const RankRule& rule, const std::string& what);
// Of b a, for less than the SVD of the product costs where its rank is low.
LowRankUpdate cut_to_rank(const LowRankFactors& update, const RankRule& rule, const std::string& what);

// The Frobenius norm. Throws DataError where it is not finite.
double finite_norm(const at::Tensor& update, const std::string& what);

// Gives the factors of all modules the scale alpha / rank, by which they are divided. alpha: none: the largest rank.
void set_alpha(FactorsByName& factors, std::optional<double> alpha);

// Factors of the update of a tensor as a checkpoint holds it, as a layer computes with them, [out, in]; and the other
// way round. turned: the tensor is [in, out], as that of an embedding.
LowRankFactors as_of_layer(const LowRankFactors& stored, bool turned);

}  // namespace fusegrid::adapters
