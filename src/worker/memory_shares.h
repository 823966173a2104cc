#pragma once

#include <cstdint>

namespace fusegrid {

// Bytes of what an executor keeps because a later cell may want it. The models, result and data of the cell that runs
// are beyond it.
struct MemoryShares {
  int64_t models = int64_t{4} << 30;
  int64_t statistics = int64_t{1} << 30;
  int64_t shifted = int64_t{512} << 20;  // shifted splits
  int64_t resident = int64_t{4} << 30;   // splits that stay on a GPU; others pass through it batch by batch
};

// Under a limit of `limit_bytes` for all of the executor's memory; 0: none.
inline MemoryShares memory_shares(int64_t limit_bytes) {
  return limit_bytes > 0 ? MemoryShares{limit_bytes / 4, limit_bytes / 4, limit_bytes / 16, int64_t{4} << 30}
                         : MemoryShares{};
}

}  // namespace fusegrid
