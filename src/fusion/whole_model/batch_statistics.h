// The statistics of activations, made anew for merged weights: averages of models have activations of less variance
// than the models had, and running statistics that are nobody's.
//
// Source:  Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018,
//          arXiv:1803.05407 (batch norm); Jordan et al., "REPAIR: REnormalizing Permuted Activations for Interpolation
//          Repair", ICLR 2023, arXiv:2211.08403.
#pragma once

#include <string>
#include <vector>

#include "core/weights.h"
#include "models/inputs.h"
#include "models/network.h"

namespace fusegrid {

bool has_running_statistics(const Architecture& architecture);

// Running statistics of batch norm are no directions to move in: whatever the method, those of a merged model are the
// models' mean, and can be made again from what it sees. float64, summed in the models' order.
at::Tensor mean_statistic(const std::vector<const Weights*>& models, const std::string& name);

// The weights with the experts' mean of each running statistic in place of theirs, as methods of other grains get it
// from their engine.
Weights with_mean_statistics(Weights weights, const std::vector<Weights>& experts);

// The weights with each batch norm's running statistics the mean over batches of those of its inputs, where all norms
// use the batch's own. ready_batches: as Network::ready() makes them, one or more; the sums are in float64, in their
// order. An architecture without batch norm gets its weights back.
Weights re_estimated(const Network& network, Weights weights, const std::vector<Inputs>& ready_batches);

// Whether repaired() can do without norms: it has none, and each layer has a bias.
bool is_repairable(const Architecture& architecture);

// The merged weights with each output of each layer, before its activation, of the mean and deviation that the models
// have on average:  w *= s / (s_merged + 1e-4),  b = (b - m_merged) s / (s_merged + 1e-4) + m,
//   m = sum_i share_i m_i,   s = sum_i share_i s_i,
// layer by layer in forward order, so that a layer sees what those before it were made to give. A statistic counts all
// rows or positions of all examples alike; float64. Passes: one over each model, and one over the merged weights for
// each layer.
//   ends, shares   the models that were merged, in the merged weights' alignment, and what each of them counts; 1 in
//                  sum
// The architecture is one that is_repairable().
Weights repaired(const Network& network, Weights merged, const std::vector<const Weights*>& ends,
                 const std::vector<double>& shares, const std::vector<Inputs>& ready_batches);

}  // namespace fusegrid
