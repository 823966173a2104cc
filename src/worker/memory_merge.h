#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "core/cell.h"
#include "fusion/fused_model.h"
#include "fusion/whole_model/statistics_cache.h"
#include "worker/zoo_cache.h"

namespace fusegrid {

// The merge of a cell from models in memory; StreamedMerger makes it from their files. models: those that models_read()
// names, in its order. statistics: what merges share.
FusedModel merge_in_memory(const Cell& cell, OpenZoo& zoo,
                           const std::vector<std::shared_ptr<const LoadedModel>>& models,
                           StatisticsCache& statistics, const std::function<void()>& tick);

}  // namespace fusegrid
