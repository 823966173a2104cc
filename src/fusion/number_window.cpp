#include "fusion/number_window.h"

#include <algorithm>
#include <functional>
#include <string>

#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr int64_t kChunk = ChunkReader::kChunk;
constexpr int64_t kTogether = 32;  // numbers that are looked at together
constexpr int64_t kLanes = 8;      // of a vector instruction

uint32_t smallest_of(const uint32_t* numbers) {
  uint32_t lanes[kLanes];
  std::copy_n(numbers, kLanes, lanes);
  for (int64_t i = kLanes; i < kTogether; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = std::min(lanes[lane], numbers[i + lane]);
    }
  }
  return *std::min_element(lanes, lanes + kLanes);
}

}  // namespace

NumberWindow::NumberWindow(Order order, NumberRange range, int64_t spill_after)
    : order_(order), range_(range), counts_(range.steps(), 0), spill_after_(spill_after) {
  FUSEGRID_ASSERT(range.steps() < kNumbers, "a range of " + std::to_string(range.steps()) + " steps");
}

// Few numbers are in the range, but for the last, which may be frequent: differences of bfloat16 numbers take few values,
// so that a range around one of them often is that one alone. It is counted like what is below; the others where a group
// of numbers has any.
std::span<const uint16_t> NumberWindow::add(const float* values, int64_t count) {
  spill_before(count);
  uint32_t positions[kChunk];  // in the range; beyond it for what is not in it
  count_ends(values, count, positions);
  const uint32_t steps = range_.steps();
  if (steps == 0) {
    return {};
  }
  std::fill(positions + count, positions + (count + kTogether - 1) / kTogether * kTogether, UINT32_MAX);
  size_t found = 0;
  for (int64_t i = 0; i < count; i += kTogether) {
    const int64_t end = smallest_of(positions + i) < steps ? i + kTogether : i;
    for (int64_t j = i; j < end; ++j) {  // no branch, which would be guessed wrong
      inside_[found] = static_cast<uint16_t>(j);
      found += positions[j] < steps ? 1 : 0;
    }
  }
  for (size_t i = 0; i < found; ++i) {
    ++counts_[positions[inside_[i]]];
  }
  return {inside_.data(), found};
}

void NumberWindow::count_ends(const float* __restrict values, int64_t count, uint32_t* __restrict positions) {
  const Order order = order_;
  const NumberRange range = range_;
  uint32_t below = 0;
  uint32_t last = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = ordered_bits(values[i], order);
    below += static_cast<uint32_t>(bits < range.first);
    last += static_cast<uint32_t>(bits == range.last);
    positions[i] = bits - range.first;
  }
  below_ += below;
  last_ += last;
}

void NumberWindow::spill_before(int64_t more) {
  FUSEGRID_ASSERT(more <= kChunk, std::to_string(more) + " numbers at once");
  since_spill_ += more;
  if (since_spill_ > spill_after_) {
    spilled_.resize(counts_.size(), 0);
    std::transform(counts_.begin(), counts_.end(), spilled_.begin(), spilled_.begin(), std::plus<int64_t>());
    std::fill(counts_.begin(), counts_.end(), 0);
    since_spill_ = more;
  }
}

}  // namespace fusegrid
