// The rounds of Philox4x32-10 (philox.h), the same source for one counter, for several side by side on CPUs, and for GPUs.
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace fusegrid {

// Takes (counter low, counter high, stream low, stream high) to the four random words, for several side by side. Lane is an
// integer of 64 bits, or a vector of them, whose low halves are the words (high halves may hold anything); multiply(a, b)
// gives the products of the low halves.
template <int kGroups, typename Lane, typename Multiply>
FUSEGRID_HOST_DEVICE inline void philox_rounds(uint64_t key, Lane (&words)[kGroups][4],
                                               const Multiply& multiply) {
  constexpr uint64_t kMultiplier0 = 0xD2511F53U;
  constexpr uint64_t kMultiplier1 = 0xCD9E8D57U;
  constexpr uint32_t kWeyl0 = 0x9E3779B9U;
  constexpr uint32_t kWeyl1 = 0xBB67AE85U;
  auto k0 = static_cast<uint32_t>(key);
  auto k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    for (auto& c : words) {
      const Lane p0 = multiply(c[0], kMultiplier0);
      const Lane p1 = multiply(c[2], kMultiplier1);
      c[0] = (p1 >> 32) ^ c[1] ^ uint64_t { k0 };
      c[1] = p1;
      c[2] = (p0 >> 32) ^ c[3] ^ uint64_t { k1 };
      c[3] = p0;
    }
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
}

struct PhiloxWords {
  uint32_t words[4];
};

FUSEGRID_HOST_DEVICE inline PhiloxWords philox_words(uint64_t key, uint64_t stream, uint64_t counter) {
  const auto multiply = [](uint64_t a, uint64_t b) { return (a & 0xffffffffU) * b; };
  uint64_t words[1][4] = {{counter, counter >> 32, stream, stream >> 32}};
  philox_rounds(key, words, multiply);
  const auto& c = words[0];
  return {{static_cast<uint32_t>(c[0]), static_cast<uint32_t>(c[1]), static_cast<uint32_t>(c[2]),
           static_cast<uint32_t>(c[3])}};
}

// A word as a number in [0, 1): its upper 24 bits. Signed, as processors convert in one instruction.
FUSEGRID_HOST_DEVICE inline float unit_number(uint32_t word) {
  return static_cast<float>(static_cast<int32_t>(word >> 8)) * 0x1p-24F;
}

}  // namespace fusegrid
