// Histograms of halves of ordered_bits(): the 16 high bits choose a bin, the 16 low ones a number in it.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "fusion/loops/device_kernels.h"
#include "fusion/loops/slice_vector.h"

namespace fusegrid {

using device_kernels::CountRule;
constexpr int64_t kBins = device_kernels::kCountBins;

inline float from_ordered_bits(uint32_t bits) {
  return std::bit_cast<float>(bits >> 31 != 0 ? bits & 0x7fffffffU : ~bits);
}

// Adds at most ChunkReader::kChunk numbers to `counts`, kBins of them: int64_t or, for fewer than 2^32 numbers,
// uint32_t.
template <typename Count>
void count_chunk(const float* values, int64_t count, CountRule rule, Count* counts);

// Which of the counts, at least one, has the entry number `rank` (from 1), which then counts inside it; the last one
// where there is no such entry.
inline size_t find_count(const int64_t* counts, size_t num, int64_t& rank) {
  size_t i = 0;
  for (; i + 1 < num && rank > counts[i]; ++i) {
    rank -= counts[i];
  }
  return i;
}

// Histograms on the device, one for each rule; adding to them does not wait for anything.
class DeviceCounts {
 public:
  explicit DeviceCounts(std::vector<CountRule> rules);  // at least one; alike but for `high`
  void add(const std::vector<SliceVector>& vectors);    // one for each rule
  // On the host, waiting for all that was added: the sums of each rule's groups of `size` bins, [rules][kBins / size];
  std::vector<int64_t> group_sums(int64_t size) const;
  // and the bins of some groups, [groups][size]. group: number group % (kBins / size) of rule group / (kBins / size).
  std::vector<int64_t> bins(const std::vector<int64_t>& groups, int64_t size) const;

 private:
  void add_op_by_op(const at::Tensor& flat, size_t index);
  at::Tensor sums() const;  // [rules][kBins]

  std::vector<CountRule> rules_;
  at::Tensor counts_;  // [rules][copies][bins]
};

}  // namespace fusegrid
