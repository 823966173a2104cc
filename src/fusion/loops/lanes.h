// Eight numbers side by side, for which the rules of entry_rules.h are run on CPUs: compilers make a vector instruction
// of each operation on them. Operators and `mask ? a : b` are GCC's and Clang's.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __AVX2__
#include <immintrin.h>
#endif

#include <c10/util/BFloat16.h>

namespace fusegrid {

using Lanes = float __attribute__((vector_size(32)));
using LaneBits = uint32_t __attribute__((vector_size(32)));
using LaneInts = int32_t __attribute__((vector_size(32)));  // and masks: all bits of a lane, or none
constexpr int64_t kLanes = 8;

inline Lanes load_lanes(const float* from) {
  Lanes lanes;
  std::memcpy(&lanes, from, sizeof(lanes));
  return lanes;
}

inline Lanes load_lanes(const at::BFloat16* from) {
  static_assert(sizeof(at::BFloat16) == sizeof(uint16_t));
  uint16_t __attribute__((vector_size(16))) halves;
  std::memcpy(&halves, from, sizeof(halves));
#ifdef __AVX2__  // GCC 12 makes four instructions of the conversion
  const auto words = std::bit_cast<LaneBits>(_mm256_cvtepu16_epi32(std::bit_cast<__m128i>(halves)));
#else
  const auto words = __builtin_convertvector(halves, LaneBits);
#endif
  return std::bit_cast<Lanes>(words << 16);
}

// Bytes of -1 and 0.
inline LaneInts load_mask(const int8_t* from) {
  int8_t __attribute__((vector_size(8))) bytes;
  std::memcpy(&bytes, from, sizeof(bytes));
#ifdef __AVX2__  // GCC 12 makes several instructions of the conversion
  return std::bit_cast<LaneInts>(_mm256_cvtepi8_epi32(_mm_cvtsi64_si128(std::bit_cast<int64_t>(bytes))));
#else
  return __builtin_convertvector(bytes, LaneInts);
#endif
}

inline void store_lanes(const Lanes& lanes, float* to) {
  std::memcpy(to, &lanes, sizeof(lanes));
}

// Past the caches where it can, for what is not read soon. Other threads see it after end_stream().
inline void stream_lanes(const Lanes& lanes, float* to) {
#ifdef __AVX2__
  if (reinterpret_cast<uintptr_t>(to) % sizeof(lanes) == 0) {
    _mm256_stream_ps(to, std::bit_cast<__m256>(lanes));
    return;
  }
#endif
  store_lanes(lanes, to);
}

inline void end_stream() {
#ifdef __AVX2__
  _mm_sfence();
#endif
}

inline Lanes magnitude(const Lanes& lanes) {
  return std::bit_cast<Lanes>(std::bit_cast<LaneBits>(lanes) & 0x7fffffffU);
}

// value < 0 ? 0 : value
inline Lanes positive_part(const Lanes& value) {
#ifdef __AVX2__
  return std::bit_cast<Lanes>(_mm256_max_ps(__m256{}, std::bit_cast<__m256>(value)));
#else
  return value < 0.0F ? Lanes{} : value;
#endif
}

// value > 0 ? 0 : value
inline Lanes negative_part(const Lanes& value) {
#ifdef __AVX2__
  return std::bit_cast<Lanes>(_mm256_min_ps(__m256{}, std::bit_cast<__m256>(value)));
#else
  return value > 0.0F ? Lanes{} : value;
#endif
}

// a b + c, rounded once
inline Lanes multiply_add(const Lanes& a, const Lanes& b, const Lanes& c) {
  Lanes result;
  for (int lane = 0; lane < kLanes; ++lane) {
    result[lane] = std::fma(a[lane], b[lane], c[lane]);
  }
  return result;
}
inline Lanes multiply_add(const Lanes& a, float b, const Lanes& c) {
  return multiply_add(a, Lanes{} + b, c);
}

// Bit i: whether the mask holds for lane i.
inline uint32_t bits_of(const LaneInts& mask) {
#ifdef __AVX2__
  return static_cast<uint32_t>(_mm256_movemask_ps(std::bit_cast<__m256>(mask)));
#else
  uint32_t bits = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    bits |= mask[lane] != 0 ? 1U << lane : 0U;
  }
  return bits;
#endif
}

}  // namespace fusegrid
