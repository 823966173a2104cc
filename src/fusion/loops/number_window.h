#pragma once

#include <cstdint>
#include <vector>

#include "fusion/loops/ordered_bits.h"
#include "fusion/loops/slice_vector.h"

namespace fusegrid {

// Consecutive float32 numbers in the order of ordered_bits(): from one to another, both included.
struct NumberRange {
  uint32_t first = 0, last = 0;
  uint32_t steps() const { return last - first; }
  bool contains(uint32_t bits) const { return bits - first <= steps(); }
};

// Counts the numbers below a range, and how often each number in it occurs, about as fast as memory is read.
class NumberWindow {
 public:
  static constexpr int64_t kNumbers = int64_t{1} << 18;  // of the longest range

  // spill_after: elements after which the counters of 32 bits, which keep the window small, are emptied into wider
  // ones.
  NumberWindow(Order order, NumberRange range, int64_t spill_after = UINT32_MAX);

  // At most ChunkReader::kChunk numbers that are not NaN.
  void add(const float* values, int64_t count);

  const NumberRange& range() const { return range_; }
  int64_t below() const { return below_; }  // numbers below the range
  // Of the number at `position` in the range; 0 beyond it.
  int64_t count(size_t position) const {
    if (position >= counts_.size()) {
      return position == counts_.size() ? last_ : 0;
    }
    return counts_[position] + (spilled_.empty() ? 0 : spilled_[position]);
  }

 private:
  void compare(const float* values, int64_t count, uint8_t* masks);
  void spill_before(int64_t more);

  Order order_;
  NumberRange range_;
  int64_t below_ = 0;
  int64_t last_ = 0;              // occurrences of the last number: see add()
  std::vector<uint32_t> counts_;  // of the others
  std::vector<int64_t> spilled_;  // the same, or empty
  int64_t spill_after_;
  int64_t since_spill_ = 0;
};

}  // namespace fusegrid
