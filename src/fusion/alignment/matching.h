#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "fusion/alignment/unit_maps.h"

namespace fusegrid {

// What speaks for unit i of the first model and unit j of the second being one: [units, units], float64. Of a group,
// while the others are aligned as `current` says; the larger, the more alike.
using UnitScores = std::function<at::Tensor(const AxisGroup& group, const Alignment& current)>;

// By weights: sum_k a_ik b_jk over all that makes or reads the units (matrices, kernels, biases, norms; no running
// statistics), where the axes of b along other groups are permuted first.
UnitScores weight_products(const Weights& first, const Weights& second, const std::vector<AxisGroup>& groups);
// Pearson's correlation of the same numbers instead of the sum of products.
UnitScores weight_correlations(const Weights& first, const Weights& second,
                               const std::vector<AxisGroup>& groups);

// The same of several models, all with all: [models * units, models * units], where the axes along other groups are
// mapped. maps: of each model, with all groups.
at::Tensor weight_correlations(const std::vector<Weights>& models, const AxisGroup& group,
                               const AxesByTensor& axes, const std::vector<UnitMaps>& maps);

// The order in which a sweep over so many groups visits them.
std::vector<int64_t> visits_of_sweep(int64_t sweep, size_t groups);
constexpr int64_t kMostSweeps = 100;

struct Matching {
  Alignment alignment;  // of the second model onto the first
  int64_t sweeps = 0;
  double score = 0;  // mean over groups of the mean score of matched units
};

// Coordinate descent: group after group the best assignment under the scores, where it is better than the permutation
// so far, until a sweep over all groups changes nothing. Scores that are no parts of one sum may lead in circles: after
// `patience` sweeps that did not raise the mean score, or 100 sweeps, it is the best so far. Each sweep visits the
// groups in an order of its own, drawn by Philox, the same in all calls.
//   start  where the search begins; all groups
//   tick   called after each group
// Source: Ainsworth, Hayase and Srinivasa, "Git Re-Basin: Merging Models modulo Permutation Symmetries", ICLR 2023,
// arXiv:2209.04836, algorithm 1.
Matching match(const std::vector<AxisGroup>& groups, const UnitScores& scores, const Alignment& start,
               const std::function<void()>& tick, int64_t patience = 100);

}  // namespace fusegrid
