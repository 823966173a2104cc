// Experts pruned one by one, without merging: what the pruning methods share.
#pragma once

#include <functional>

#include "fusion/fusion_input.h"

namespace fusegrid {

// bool, shape of `scores` [rows, columns]: false at the int(columns * ratio) smallest scores of each row, the first
// of equal ones.
at::Tensor kept_per_row(const at::Tensor& scores, double ratio);

// What becomes of one expert's linear weight, seen whole.
using Prune = std::function<at::Tensor(const Slice& slice, size_t expert)>;

// A model per task: linear weights from `prune`, which keeps all but `ratio` of each row, other tensors the expert's.
// Stored: kept values, a bit per entry of a linear weight, everything else.
FusedModel pruned_models(const FusionInput& in, double ratio, const Prune& prune);
// A model per task: theta_0 + `prune` in linear weights, other tensors the base's. Stored: the base, kept changes
// and a bit per entry of a linear weight.
FusedModel pruned_changes(const FusionInput& in, double ratio,
                          const std::function<at::Tensor(const at::Tensor& tau)>& prune);

}  // namespace fusegrid
