// The average of experts whose parameters matter to them as a diagonal of Fisher information says: what its estimates
// share.
#pragma once

#include <memory>
#include <vector>

#include "fusion/fusion_input.h"

namespace fusegrid {

// theta = sum_i c_i (F_i + floor) theta_i / sum_i c_i (F_i + floor) per parameter, in the order of the experts; c_i: 1
// or, `normalised`, in proportion to 1 / |F_i|, so that no expert dominates by the size of its gradients.
// Source: Matena & Raffel, "Merging Models with Fisher-Weighted Averaging", NeurIPS 2022, arXiv:2111.09832, with the
// floor and the norms of FusionBench.
FusedModel fisher_average(const FusionInput& in, const std::vector<std::shared_ptr<const Weights>>& diagonals,
                          bool normalised, double floor);

}  // namespace fusegrid
