#pragma once

#include <cstdint>
#include <optional>
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

  // Vectors of at most `spill_after` entries that are not NaN.
  void add(const ChunkReader& vector);

  // The counts: below the window, then of each of its numbers.
  std::vector<int64_t> counts() const;
  // By such counts (added up over ranks), ordered_bits() of the k-th smallest number, k from 1; nothing where it is not
  // in the window.
  std::optional<uint32_t> find(const std::vector<int64_t>& counts, int64_t k) const;

 private:
  void add_chunk(const float* values, int64_t count);
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

// The bin of a histogram that holds its `rank`-th entry (from 1), which becomes the rank inside that bin.
size_t find_bin(const int64_t* counts, size_t bins, int64_t& rank);

}  // namespace fusegrid
