#pragma once

#include <cstdint>
#include <vector>

#include "fusion/scalar_rules.h"
#include "fusion/slice_vector.h"

namespace fusegrid {

// Counts the numbers below a window of consecutive float32 numbers, and how often each number in it occurs, about as
// fast as memory is read. Numbers are consecutive in the order of ordered_bits().
class NumberWindow {
 public:
  static constexpr int64_t kNumbers = int64_t{1} << 17;

  // middle: ordered_bits() of the number around which the window is. spill_after: elements after which the counters of
  // 32 bits, which keep the window small, are emptied into wider ones.
  NumberWindow(Order order, int64_t middle, int64_t spill_after = UINT32_MAX);

  // At most ChunkReader::kChunk numbers that are not NaN.
  void add(const float* values, int64_t count);

  int64_t below() const { return below_; }  // numbers below the window
  int64_t count(size_t position) const;     // of the number at `position` < kNumbers
  uint32_t ordered_bits_at(size_t position) const { return first_ + static_cast<uint32_t>(position); }

 private:
  void spill_before(int64_t more);

  Order order_;
  uint32_t first_;
  int64_t below_ = 0;
  std::vector<uint32_t> counts_;  // [kNumbers]
  std::vector<int64_t> spilled_;  // the same, or empty
  int64_t spill_after_;
  int64_t since_spill_ = 0;
  uint32_t frequent_ = 0;  // position of a number that may be frequent; any gives the same counts
};

}  // namespace fusegrid
