#include "core/philox.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numbers>
#include <numeric>
#include <string>
#include <vector>

#ifdef __AVX2__
#include <immintrin.h>
#endif

#include <ATen/ops/empty.h>

#include "core/errors.h"
#include "core/philox_rule.h"

namespace fusegrid {
namespace {

// Four counters in a vector, and four of those at a time, as products of one take processors a while. GCC makes several
// instructions of a product of halves that processors have one for.
using Lanes = uint64_t __attribute__((vector_size(32)));
constexpr int64_t kLanes = 4;
constexpr int kGroups = 4;
constexpr int64_t kStep = kGroups * kLanes * 4;  // words
static_assert(std::endian::native == std::endian::little,
              "words are stored as halves of integers of 64 bits");

Lanes multiply_low_halves(const Lanes& a, uint32_t b, Lanes& high) {
#ifdef __AVX2__
  const auto b_lanes = _mm256_set1_epi64x(int64_t{b});
  const auto product = reinterpret_cast<Lanes>(_mm256_mul_epu32(reinterpret_cast<__m256i>(a), b_lanes));
#else
  const Lanes product = (a & 0xffffffffU) * uint64_t{b};
#endif
  high = product >> 32;
  return product;
}

// kStep words, one counter's behind the other's.
inline void philox_step(uint64_t key, uint64_t stream, uint64_t first_counter, uint32_t* words) {
  Lanes c[kGroups][4];
  for (int64_t group = 0; group < kGroups; ++group) {
    const Lanes counters = Lanes{0, 1, 2, 3} + (first_counter + static_cast<uint64_t>(group * kLanes));
    c[group][0] = counters;
    c[group][1] = counters >> 32;
    c[group][2] = Lanes{} + stream;
    c[group][3] = Lanes{} + (stream >> 32);
  }
  philox_rounds<uint64_t>(key, c, multiply_low_halves);
  for (int64_t group = 0; group < kGroups; ++group) {
    const Lanes front = (c[group][0] & 0xffffffffU) | c[group][1] << 32;
    const Lanes back = (c[group][2] & 0xffffffffU) | c[group][3] << 32;
    const Lanes halves[2] = {__builtin_shufflevector(front, back, 0, 4, 1, 5),
                             __builtin_shufflevector(front, back, 2, 6, 3, 7)};
    std::memcpy(words + group * 4 * kLanes, halves, sizeof halves);
  }
}

// Element e is word e % 4 of counter e / 4.
void fill_words(uint64_t key, uint64_t stream, int64_t begin, int64_t count, uint32_t* out) {
  for (int64_t done = 0; done < count;) {
    const auto counter = static_cast<uint64_t>((begin + done) / 4);
    const int64_t skipped = (begin + done) % 4;
    const int64_t size = std::min(kStep - skipped, count - done);
    if (size == kStep) {
      philox_step(key, stream, counter, out + done);
    } else {
      uint32_t words[kStep];
      philox_step(key, stream, counter, words);
      std::copy_n(words + skipped, size, out + done);
    }
    done += size;
  }
}

}  // namespace

std::array<uint32_t, 4> philox(uint64_t key, uint64_t stream, uint64_t counter) {
  const PhiloxWords all = philox_words(key, stream, counter);
  return {all.words[0], all.words[1], all.words[2], all.words[3]};
}

void fill_uniform(uint64_t key, uint64_t stream, int64_t begin, int64_t count, float* out) {
  constexpr int64_t kPart = 1024;
  uint32_t words[kPart];
  for (int64_t done = 0; done < count; done += kPart) {
    const int64_t size = std::min(kPart, count - done);
    fill_words(key, stream, begin + done, size, words);
    for (int64_t i = 0; i < size; ++i) {
      out[done + i] = unit_number(words[i]);
    }
  }
}

void fill_bytes(uint64_t key, uint64_t stream, int64_t begin, int64_t count, uint8_t* out) {
  constexpr int64_t kPart = 4096;
  uint32_t words[kPart / 4 + 1];
  for (int64_t done = 0; done < count; done += kPart) {
    const int64_t size = std::min(kPart, count - done);
    const int64_t skipped = (begin + done) % 4;
    fill_words(key, stream, (begin + done) / 4, (skipped + size + 3) / 4, words);
    std::memcpy(out + done, reinterpret_cast<const uint8_t*>(words) + skipped, static_cast<size_t>(size));
  }
}

at::Tensor uniform(uint64_t key, uint64_t stream, int64_t begin, int64_t count) {
  at::Tensor numbers = at::empty({count}, at::kFloat);
  fill_uniform(key, stream, begin, count, numbers.mutable_data_ptr<float>());
  return numbers;
}

at::Tensor normal(uint64_t key, uint64_t stream, int64_t begin, int64_t count) {
  at::Tensor numbers = at::empty({count}, at::kFloat);
  auto* out = numbers.mutable_data_ptr<float>();
  for (int64_t e = begin; e < begin + count;) {
    const auto words = philox(key, stream, static_cast<uint64_t>(e / 2));
    // in (0, 1], so that the logarithm is finite, and [0, 1)
    const double first = (static_cast<double>(uint64_t{words[0]} << 20 | words[1] >> 12) + 1) * 0x1p-52;
    const double second = static_cast<double>(words[2]) * 0x1p-32;
    const double radius = std::sqrt(-2 * std::log(first));
    const double angle = 2 * std::numbers::pi * second;
    for (int64_t half = e % 2; half < 2 && e < begin + count; ++half, ++e) {
      *out++ = static_cast<float>(radius * (half == 0 ? std::cos(angle) : std::sin(angle)));
    }
  }
  return numbers;
}

uint64_t derive_key(uint64_t seed, const std::string& purpose) {
  uint64_t hash =
      0xCBF29CE484222325ULL;  // FNV-1a over the purpose, then mixed with the seed by one Philox call
  for (const char c : purpose) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  }
  const auto words = philox(seed, hash, 0);
  return uint64_t{words[1]} << 32 | words[0];
}

std::vector<int64_t> permutation(uint64_t key, uint64_t stream, int64_t n) {
  FUSEGRID_ASSERT(n < (int64_t{1} << 32), "a permutation of " + std::to_string(n) + " entries");
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (int64_t i = n - 1; i > 0; --i) {
    const auto words = philox(key, stream, static_cast<uint64_t>(i));
    // the high half of random * (i + 1): uniform to within n * 2^-32, without division
    const auto j = static_cast<int64_t>((uint64_t{words[0]} * static_cast<uint64_t>(i + 1)) >> 32);
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(j)]);
  }
  return order;
}

}  // namespace fusegrid
