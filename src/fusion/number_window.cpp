#include "fusion/number_window.h"

#include <algorithm>
#include <functional>

#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr int64_t kChunk = ChunkReader::kChunk;
constexpr int64_t kTogether = 16;  // numbers that are looked at together

uint32_t first_number(int64_t middle) {
  constexpr int64_t kAll = int64_t{1} << 32;
  constexpr int64_t kNumbers = NumberWindow::kNumbers;
  return static_cast<uint32_t>(std::clamp(middle - kNumbers / 2, int64_t{0}, kAll - kNumbers));
}

}  // namespace

NumberWindow::NumberWindow(Order order, int64_t middle, int64_t spill_after)
    : order_(order), first_(first_number(middle)), counts_(kNumbers, 0), spill_after_(spill_after) {}

// Few numbers are in the window, but for one that may be frequent: differences of bfloat16 numbers take few values.
// That one is counted like what is below, the others where a group of numbers has any.
void NumberWindow::add(const float* __restrict values, int64_t count) {
  spill_before(count);
  uint32_t others[kChunk];  // positions in the window; beyond it for all that is counted here
  const Order order = order_;
  const uint32_t first = first_;
  const uint32_t frequent_position = frequent_;
  uint32_t below = 0;
  uint32_t frequent = 0;
  // loops of one step each, which compilers make vector instructions of
  for (int64_t i = 0; i < count; ++i) {
    others[i] = ordered_bits(values[i], order);
  }
  for (int64_t i = 0; i < count; ++i) {
    below += static_cast<uint32_t>(others[i] < first);
    others[i] -= first;
  }
  for (int64_t i = 0; i < count; ++i) {
    frequent += static_cast<uint32_t>(others[i] == frequent_position);
    others[i] |= 0U - static_cast<uint32_t>(others[i] == frequent_position);
  }
  std::fill(others + count, others + (count + kTogether - 1) / kTogether * kTogether, UINT32_MAX);
  below_ += below;
  counts_[frequent_] += frequent;
  uint32_t counted = 0;
  uint32_t last = frequent_;
  for (int64_t i = 0; i < count; i += kTogether) {
    uint32_t smallest = UINT32_MAX;
    for (int64_t j = 0; j < kTogether; ++j) {
      smallest = std::min(smallest, others[i + j]);
    }
    for (int64_t j = smallest < kNumbers ? 0 : kTogether; j < kTogether; ++j) {
      if (others[i + j] < kNumbers) {
        last = others[i + j];
        ++counts_[last];
        ++counted;
      }
    }
  }
  if (counted > count / 16 && counted > frequent) {
    frequent_ = last;
  }
}

void NumberWindow::spill_before(int64_t more) {
  FUSEGRID_ASSERT(more <= kChunk, std::to_string(more) + " numbers at once");
  since_spill_ += more;
  if (since_spill_ > spill_after_) {
    spilled_.resize(kNumbers, 0);
    std::transform(counts_.begin(), counts_.end(), spilled_.begin(), spilled_.begin(), std::plus<int64_t>());
    std::fill(counts_.begin(), counts_.end(), 0);
    since_spill_ = more;
  }
}

int64_t NumberWindow::count(size_t position) const {
  return counts_[position] + (spilled_.empty() ? 0 : spilled_[position]);
}

}  // namespace fusegrid
