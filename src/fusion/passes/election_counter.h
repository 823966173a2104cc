#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "fusion/passes/order_statistics.h"

namespace fusegrid {

// Positive entries less negative ones, of fewer than 2^31.
int32_t sign_balance(const float* sums, int64_t count);

// Counts which sign most entries of the sum of trimmed vectors have, exactly, in the very pass that finds the thresholds at
// which they are trimmed. Nearly all entries of a vector are surely kept or surely dropped, as the threshold is known to lie
// in a narrow range. Where that leaves the sum's sign open, what one threshold decides is counted by the number at which
// the sign turns, and the few entries that wait for several thresholds are remembered.
class ElectionCounter : public ChunkObserver {
 public:
  // most_waiting: numbers that are remembered at most.
  explicit ElectionCounter(int64_t most_waiting = int64_t{1} << 20);

  void start(const std::vector<NumberRange>& expected) override;
  void see(size_t vector, const float* values, std::span<const uint16_t> inside) override;
  ChunkSums& sums() override { return sums_; }
  void end_chunk(const ChunkReader& reader, int64_t count) override;

  // The number of positive entries of the sum less the number of negative ones, over all ranks, where each vector keeps the
  // magnitudes that reach its threshold; nothing where the pass cannot tell: there was none, a threshold is not where it
  // was expected, or a rank had too many entries to remember. Every rank must call; `sum_over_ranks` adds counters up.
  std::optional<int64_t> balance(const std::vector<float>& thresholds,
                                 const std::function<void(std::vector<int64_t>&)>& sum_over_ranks) const;

 private:
  static constexpr int64_t kChunk = ChunkReader::kChunk;
  bool settle_single(size_t place);
  void settle(const ChunkReader& reader, int64_t place);
  int64_t settled_later(const std::vector<float>& thresholds) const;

  size_t most_waiting_;
  std::vector<NumberRange> expected_;
  std::vector<float> surely_kept_;  // per vector: magnitudes from here on
  std::vector<std::vector<int32_t>>
      turns_;                   // per vector and number: change of the balance if the number is kept
  std::vector<float> waiting_;  // entries of all vectors, one sum's behind the other's
  bool complete_ = true;
  int64_t balance_ = 0;

  ChunkSums sums_;  // of what is surely kept
  // The entries of a sum that a threshold decides: how many, and the last of them.
  struct Open {
    size_t entries = 0;
    size_t vector = 0;
    float value = 0;
  };
  std::array<Open, kChunk> open_;
  std::vector<uint16_t> open_places_;
  std::vector<float> entries_;
};

}  // namespace fusegrid
