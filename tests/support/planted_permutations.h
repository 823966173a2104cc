// Models whose units were put into another order.
#pragma once

#include "core/philox.h"
#include "fusion/alignment/permutation.h"

namespace fusegrid {

inline Alignment random_alignment(const std::vector<AxisGroup>& groups, uint64_t key) {
  Alignment alignment;
  uint64_t stream = 0;
  for (const AxisGroup& group : groups) {
    alignment[group.name] = permutation(key, stream++, group.size);
  }
  return alignment;
}

}  // namespace fusegrid
