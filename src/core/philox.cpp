#include "core/philox.h"

#include <cmath>
#include <numbers>
#include <numeric>
#include <string>
#include <vector>

#include <ATen/ops/empty.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

struct Product {
  uint32_t high, low;
};

Product multiply(uint32_t a, uint32_t b) {
  const uint64_t product = uint64_t{a} * b;
  return {static_cast<uint32_t>(product >> 32), static_cast<uint32_t>(product)};
}

}  // namespace

std::array<uint32_t, 4> philox(uint64_t key, uint64_t stream, uint64_t counter) {
  constexpr uint32_t kMultiplier0 = 0xD2511F53U;
  constexpr uint32_t kMultiplier1 = 0xCD9E8D57U;
  constexpr uint32_t kWeyl0 = 0x9E3779B9U;
  constexpr uint32_t kWeyl1 = 0xBB67AE85U;
  std::array<uint32_t, 4> c{static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32),
                            static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)};
  auto k0 = static_cast<uint32_t>(key);
  auto k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const Product p0 = multiply(kMultiplier0, c[0]);
    const Product p1 = multiply(kMultiplier1, c[2]);
    c = {p1.high ^ c[1] ^ k0, p1.low, p0.high ^ c[3] ^ k1, p0.low};
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  return c;
}

at::Tensor uniform(uint64_t key, uint64_t stream, int64_t begin, int64_t count) {
  at::Tensor numbers = at::empty({count}, at::kFloat);
  auto* out = numbers.mutable_data_ptr<float>();
  for (int64_t e = begin; e < begin + count;) {
    const auto words = philox(key, stream, static_cast<uint64_t>(e / 4));
    for (int64_t word = e % 4; word < 4 && e < begin + count; ++word, ++e) {
      *out++ = static_cast<float>(words[static_cast<size_t>(word)] >> 8) * 0x1p-24F;
    }
  }
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
