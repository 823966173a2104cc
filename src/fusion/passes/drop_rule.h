// Which entries stay when each is dropped at random, the same source for the CPU's loops and the GPU's kernels. Entry e
// has a random number of 40 bits: 8 of its key's stream 0 (fill_bytes()), then the 32 of word e % 4 of counter e / 4 of
// stream 1. It stays where that is at least the rate times 2^40. One entry in 256 needs the second part, so that a
// counter serves 16.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/philox_rule.h"

namespace fusegrid {

struct DropRule {
  uint64_t key = 0;
  uint32_t tie = 0;   // the first 8 bits of the least number that stays, or 256,
  uint32_t rest = 0;  // and the others

  DropRule() = default;
  DropRule(uint64_t drop_key, double rate) : key(drop_key) {
    const auto least = static_cast<uint64_t>(std::ceil(rate * 0x1p40));
    tie = static_cast<uint32_t>(least >> 32);
    rest = static_cast<uint32_t>(least);
  }

  // Of the entries whose first part is `tie`, the only ones that need the second.
  FUSEGRID_HOST_DEVICE bool keeps_tie(int64_t entry) const {
    return philox_words(key, 1, static_cast<uint64_t>(entry / 4)).words[entry % 4] >= rest;
  }
};

// On the CPU: kept[i] is -1 where the entry begin + i stays, else 0.
void fill_kept(const DropRule& rule, int64_t begin, int64_t count, int8_t* kept);

}  // namespace fusegrid
