#include "fusion/passes/drop_rule.h"

#include <algorithm>
#include <cstring>

#include "core/philox.h"

namespace fusegrid {
namespace {

constexpr int64_t kEight = 8;
constexpr uint64_t kOnes = 0x0101010101010101;

// Whether one of eight bytes is zero.
bool has_zero(uint64_t bytes) {
  return ((bytes - kOnes) & ~bytes & kOnes << 7) != 0;
}

// Decides the entries of which the first part says nothing.
void settle_ties(const DropRule& rule, const uint8_t* bytes, int64_t begin, int64_t count, int8_t* kept) {
  const auto settle = [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) {
      if (bytes[i] == rule.tie) {
        kept[i] = rule.keeps_tie(begin + i) ? -1 : 0;
      }
    }
  };
  int64_t i = 0;
  for (; i + kEight <= count; i += kEight) {
    uint64_t eight;
    std::memcpy(&eight, bytes + i, sizeof eight);
    if (has_zero(eight ^ rule.tie * kOnes)) {
      settle(i, i + kEight);
    }
  }
  settle(i, count);
}

}  // namespace

void fill_kept(const DropRule& rule, int64_t begin, int64_t count, int8_t* kept) {
  if (rule.tie > 0xff) {  // a rate of 1
    std::fill_n(kept, count, int8_t{0});
    return;
  }
  constexpr int64_t kPart = 1024;
  const auto tie = static_cast<uint8_t>(rule.tie);
  uint8_t bytes[kPart];
  for (int64_t done = 0; done < count; done += kPart) {
    const int64_t size = std::min(kPart, count - done);
    fill_bytes(rule.key, 0, begin + done, size, bytes);
    for (int64_t i = 0; i < size; ++i) {
      kept[done + i] = bytes[i] >= tie ? -1 : 0;
    }
    if (rule.rest > 0) {
      settle_ties(rule, bytes, begin + done, size, kept + done);
    }
  }
}

}  // namespace fusegrid
