// Trimming, election of signs and merging of those that agree: the steps of TIES, which other methods apply to
// task vectors that they made sparse in their own ways.
#pragma once

#include <string>
#include <vector>

#include "fusion/fusion_input.h"

namespace fusegrid {

// What TIES must know of the whole model: the smallest magnitude that each vector keeps, and the sign that most
// elected entries have (> 0: +), which decides where an entry's sum is zero.
struct TrimmedElection {
  std::vector<float> thresholds;
  double majority = 0;
};

// For vectors that are trimmed already, or not at all: all entries stay, and a zero sum elects -.
TrimmedElection untrimmed(size_t vectors);

// The thresholds of `vectors` (one per expert, functions of the slice; `key` names them) over the whole model, by the
// rule of the authors' code: kept is |v| >= the k-th smallest, k = d - int(d density), so int(d density) + 1 entries
// and all that equal the last of them; density = 1 keeps everything. One density per vector. The passes run once per
// key and densities.
std::vector<float> trimming_thresholds(const FusionInput& in, const std::string& key,
                                       const std::vector<double>& densities, const SliceVectors& vectors);
TrimmedElection trim_and_elect(const FusionInput& in, const std::string& key,
                               const std::vector<double>& densities, const SliceVectors& vectors);

// `vectors` without the entries below their thresholds.
std::vector<at::Tensor> trimmed(const std::vector<at::Tensor>& vectors, const std::vector<float>& thresholds);

// bool, of the shape of `vectors`: their entries that reach their thresholds and have the elected sign.
std::vector<at::Tensor> elected_entries(const std::vector<at::Tensor>& vectors,
                                        const TrimmedElection& election);

// The merged vector of a slice, float64 if `vectors` are, else float32: the entries of `vectors` that reach their
// thresholds and have the elected sign (that of the sum; where it is zero, the majority's, and - if there is none), as
// "sum", "mean" or "max".
at::Tensor merge_elected(const std::vector<SliceVector>& vectors, const TrimmedElection& election,
                         const std::string& merge);

// What a weighted mean divides by, by mergekit's rule: the sum of the weights, or 1 where that is below 1e-8.
double mean_divisor(const std::vector<double>& weights);

// Weighted merge by mergekit's rules. elect: only entries of the sign of the weighted sum (zero counts as +).
// "sum", or "mean": divided by the sum of the weights that took part (by 1 where that is zero).
at::Tensor merge_weighted(const std::vector<at::Tensor>& vectors, const std::vector<double>& weights,
                          bool elect, const std::string& merge);

}  // namespace fusegrid
