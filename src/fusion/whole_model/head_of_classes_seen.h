#pragma once

#include <utility>
#include <vector>

#include "fusion/fusion_input.h"

namespace fusegrid {

// Heads with missing labels: the tensors of the models' own head, of which the row of a class is the mean of the rows
// of the experts that have seen it, in some task that they were made for. Need::kClassesSeen, Demand::kHeadInside.
//
// Source: Jin et al., "Dataless Knowledge Fusion by Merging Weights of Language Models", ICLR 2023, arXiv:2212.09849.
//   mean_of   the experts as the merge saw them, in their order, each with its weight in the mean, as
//             FusedModel::mean_of; none: as they are, and alike
// ConfigError where no expert has seen a class.
Weights head_of_classes_seen(const FusionInput& in, const std::vector<std::pair<double, Weights>>& mean_of);

// What the mean over those of `experts` members that have seen a class is made with, float64 [experts, classes]: of
// each class the shares of those that have seen it, which sum to 1. seen: of each member, ascending, empty where it is
// all. weights: of each member; none: alike. ConfigError where no member has seen a class.
at::Tensor shares_of_classes(const std::vector<std::vector<int64_t>>& seen, int64_t classes,
                             const std::vector<double>& weights = {});

}  // namespace fusegrid
