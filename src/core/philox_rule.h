// The rounds of Philox4x32-10 (philox.h), the same source for one counter, for several side by side on CPUs, and for
// GPUs.
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace fusegrid {

// Takes (counter low, counter high, stream low, stream high) to the four random words, for several side by side. A Lane
// is a word, or as many as a processor has side by side, of integers whose other bits may hold anything. multiply(a, b,
// high) returns the low words of the products and puts their high words in `high`. Number: of what a Lane is made.
template <typename Number, int kGroups, typename Lane, typename Multiply>
FUSEGRID_HOST_DEVICE inline void philox_rounds(uint64_t key, Lane (&words)[kGroups][4],
                                               const Multiply& multiply) {
  constexpr uint32_t kMultiplier0 = 0xD2511F53U;
  constexpr uint32_t kMultiplier1 = 0xCD9E8D57U;
  constexpr uint32_t kWeyl0 = 0x9E3779B9U;
  constexpr uint32_t kWeyl1 = 0xBB67AE85U;
  auto k0 = static_cast<uint32_t>(key);
  auto k1 = static_cast<uint32_t>(key >> 32);
#ifdef __CUDACC__
#pragma unroll
#else
#pragma GCC unroll 10  // else GCC keeps words of four groups in memory between rounds: 1.5 times as long
#endif
  for (int round = 0; round < 10; ++round) {
    for (auto& c : words) {
      Lane high0;
      Lane high1;
      const Lane low0 = multiply(c[0], kMultiplier0, high0);
      const Lane low1 = multiply(c[2], kMultiplier1, high1);
      c[0] = high1 ^ c[1] ^ Number { k0 };
      c[1] = low1;
      c[2] = high0 ^ c[3] ^ Number { k1 };
      c[3] = low0;
    }
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
}

struct PhiloxWords {
  uint32_t words[4];
};

FUSEGRID_HOST_DEVICE inline PhiloxWords philox_words(uint64_t key, uint64_t stream, uint64_t counter) {
  const auto multiply = [](uint32_t a, uint32_t b, uint32_t& high) {
    const uint64_t product = uint64_t{a} * b;
    high = static_cast<uint32_t>(product >> 32);
    return static_cast<uint32_t>(product);
  };
  uint32_t c[1][4] = {{static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32),
                       static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)}};
  philox_rounds<uint32_t>(key, c, multiply);
  return {{c[0][0], c[0][1], c[0][2], c[0][3]}};
}

// A word as a number in [0, 1): its upper 24 bits. Signed, as processors convert in one instruction.
FUSEGRID_HOST_DEVICE inline float unit_number(uint32_t word) {
  return static_cast<float>(static_cast<int32_t>(word >> 8)) * 0x1p-24F;
}

}  // namespace fusegrid
