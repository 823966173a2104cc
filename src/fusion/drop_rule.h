// Which entries stay when each is dropped at random, the same source for the CPU's loops and the GPU's kernels. Entry e has a
// uniform number in [0, 1) of 40 bits: 16 bits of its key's stream 0 (fill_halves()), then 24 of stream 1 (fill_uniform()).
// It stays where that is at least the rate. One entry in 65,536 needs the second part, so that an entry costs half a word.
#pragma once

#include <cstdint>

#include "core/philox_rule.h"

namespace fusegrid {

struct DropRule {
  uint64_t key = 0;
  uint32_t tie = 0;  // the first 16 bits of the rate,
  float rest = 0;    // what follows, in [0, 1)

  DropRule() = default;
  DropRule(uint64_t drop_key, double rate)
      : key(drop_key),
        tie(static_cast<uint32_t>(rate * 0x1p16)),
        rest(static_cast<float>(rate * 0x1p16 - tie)) {}

  // Whether the entry, of which `half` is the number's first part, stays.
  FUSEGRID_HOST_DEVICE bool keeps(uint32_t half, int64_t entry) const {
    if (half != tie || rest == 0) {
      return half >= tie;
    }
    const PhiloxWords words = philox_words(key, 1, static_cast<uint64_t>(entry / 4));
    return unit_number(words.words[entry % 4]) >= rest;
  }
};

}  // namespace fusegrid
