#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "fusion/alignment/permutation.h"

namespace fusegrid {

struct CycleConsistent {
  std::vector<Alignment> onto_first;  // of each model; the first one's leaves everything in place
  int64_t iterations = 0;
};

// Permutations of all models into one common order, in which the sum over pairs of models and over all tensors of the
// products of their entries is large; so that going from model to model in a circle leads back to every unit. By
// Frank-Wolfe's method on doubly stochastic matrices of all groups and models at once, from the identities: a linear
// assignment each, then a step of the length that is best, until a step gains less than 1e-5 of the sum or `iterations`
// are done; then the nearest permutations. No model plays a part of its own.
//   tick  called after each iteration
// Source: Crisostomi et al., "C^2M^3: Cycle-Consistent Multi-Model Merging", NeurIPS 2024, arXiv:2405.17897.
CycleConsistent match_in_cycles(const std::vector<Weights>& models, const std::vector<AxisGroup>& groups,
                                int64_t iterations, const std::function<void()>& tick);

}  // namespace fusegrid
