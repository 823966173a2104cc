#include "fusion/loops/number_window.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <string>

#include "core/errors.h"
#include "fusion/loops/lanes.h"

namespace fusegrid {
namespace {

constexpr int64_t kWord = 64;  // values whose masks are looked at together
static_assert(std::endian::native == std::endian::little, "a word's low bits are its first byte's");

// ordered_bits() as signed integers, which processors compare in one instruction.
LaneInts ordered_ints(const Lanes& values, Order order) {
  const auto bits = std::bit_cast<LaneInts>(values);
  return order == Order::kMagnitudes ? bits & INT32_MAX : bits ^ (bits >> 31 & INT32_MAX);
}

int32_t as_ordered_int(uint32_t ordered_bits) {
  return std::bit_cast<int32_t>(ordered_bits ^ 0x80000000U);
}

}  // namespace

NumberWindow::NumberWindow(Order order, NumberRange range, int64_t spill_after)
    : order_(order), range_(range), counts_(range.steps(), 0), spill_after_(spill_after) {
  FUSEGRID_ASSERT(range.steps() < kNumbers, "a range of " + std::to_string(range.steps()) + " steps");
}

// Few numbers are in the range, but for the last, which may be frequent: differences of bfloat16 numbers take few
// values, so that a range around one of them often is that one alone. It is counted like what is below; the others one
// by one.
void NumberWindow::add(const float* values, int64_t count) {
  spill_before(count);
  uint8_t masks[ChunkReader::kChunk / kLanes] = {};
  compare(values, count, masks);
  for (int64_t word = 0; word * kWord < count; ++word) {
    uint64_t mask = 0;
    std::memcpy(&mask, masks + word * static_cast<int64_t>(sizeof mask), sizeof mask);
    for (; mask != 0; mask &= mask - 1) {
      const int64_t place = word * kWord + std::countr_zero(mask);
      ++counts_[ordered_bits(values[place], order_) - range_.first];
    }
  }
}

// Counts what is below the range and what is its last number, and sets the bits of those between.
void NumberWindow::compare(const float* values, int64_t count, uint8_t* masks) {
  const int32_t first = as_ordered_int(range_.first);
  const int32_t last = as_ordered_int(range_.last);
  LaneInts below{};
  LaneInts equal{};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const LaneInts numbers = ordered_ints(load_lanes(values + i), order_);
    const LaneInts is_below = numbers < first;
    const LaneInts before_last = numbers < last;
    below += is_below;  // -1 where it is
    equal += numbers == last;
    masks[i / kLanes] = static_cast<uint8_t>(bits_of(is_below ^ before_last));
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    below_ -= below[lane];
    last_ -= equal[lane];
  }
  for (; i < count; ++i) {
    const uint32_t number = ordered_bits(values[i], order_);
    below_ += number < range_.first ? 1 : 0;
    last_ += number == range_.last ? 1 : 0;
    const int inside = number >= range_.first && number < range_.last ? 1 : 0;
    masks[i / kLanes] = static_cast<uint8_t>(masks[i / kLanes] | inside << i % kLanes);
  }
}

void NumberWindow::spill_before(int64_t more) {
  FUSEGRID_ASSERT(more <= ChunkReader::kChunk, std::to_string(more) + " numbers at once");
  since_spill_ += more;
  if (since_spill_ > spill_after_) {
    spilled_.resize(counts_.size(), 0);
    std::transform(counts_.begin(), counts_.end(), spilled_.begin(), spilled_.begin(), std::plus<int64_t>());
    std::fill(counts_.begin(), counts_.end(), 0);
    since_spill_ = more;
  }
}

}  // namespace fusegrid
