#pragma once

#include <cstddef>
#include <vector>

#include "fusion/alignment/unit_maps.h"

namespace fusegrid {

// How units of several models are zipped up into as many as one model has.
struct ZipRule {
  double a =
      0.3;  // a merged unit is as like another as a times the least of its parts; 0: it is merged no more
  double b =
      0.125;  // at most this part of a model's share of the merges may be of two units of that model itself
};

// Greedy: the two units that correlate most become one, until as many are left as one model has. Two units that are
// both of one model alone use up its budget, b (models - 1) units / models merges. Equal correlations: rather units at
// the same place of two models, then the first in order.
//   correlations  float64 [models units, models units], model 0's units first
//   Returns       for each model its maps, float64 on the correlations' device: a merged unit is the mean of its parts,
//                 and whatever reads a unit reads the merged one in its place. Merged units are in the order of their
//                 first parts.
//   Throws        DataError where a correlation is no finite number; an assertion for rule.a = 0 of more than two
//                 models, where pairs alone cannot leave so few
// Source: Stoica et al., "ZipIt! Merging Models from Different Tasks without Training", ICLR 2024, arXiv:2305.03053,
// section 4.
std::vector<UnitMap> zipped_units(const at::Tensor& correlations, size_t models, const ZipRule& rule);

}  // namespace fusegrid
