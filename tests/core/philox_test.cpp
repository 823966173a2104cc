#include "core/philox.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <set>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

namespace fusegrid {
namespace {

using Words = std::array<uint32_t, 4>;

// The known answers of philox4x32 with 10 rounds that its authors publish with Random123. Their counter words
// 0..3 are our (counter low, counter high, stream low, stream high), their key words our (key low, key high).
TEST(Philox, gives_the_known_answer_of_zeros) {
  EXPECT_EQ(philox(0, 0, 0), (Words{0x6627E8D5U, 0xE169C58DU, 0xBC57AC4CU, 0x9B00DBD8U}));
}

TEST(Philox, gives_the_known_answer_of_ones) {
  EXPECT_EQ(philox(~0ULL, ~0ULL, ~0ULL), (Words{0x408F276DU, 0x41C83B0EU, 0xA20BC7C6U, 0x6D5451FDU}));
}

TEST(Philox, gives_the_known_answer_of_the_digits_of_pi) {
  EXPECT_EQ(philox(0x299F31D0A4093822ULL, 0x0370734413198A2EULL, 0x85A308D3243F6A88ULL),
            (Words{0xD16CFE09U, 0x94FDCCEBU, 0x5001E420U, 0x24126EA1U}));
}

TEST(Uniform, of_a_range_equals_the_same_part_of_the_whole) {
  const at::Tensor whole = uniform(7, 3, 0, 101);
  for (const auto& [begin, count] : {std::pair{0, 1}, {1, 6}, {3, 90}, {8, 4}, {100, 1}, {50, 0}}) {
    const at::Tensor part = uniform(7, 3, begin, count);
    EXPECT_TRUE(part.equal(whole.narrow(0, begin, count))) << begin << " + " << count;
  }
}

TEST(Uniform, is_made_of_the_words_of_philox) {
  constexpr uint64_t kStream = uint64_t{5} << 32 | 3;
  // counters' upper halves are 0, and become 1
  for (const int64_t near : {int64_t{0}, (int64_t{1} << 34) - 8}) {
    for (const int64_t begin : {near, near + 1, near + 2, near + 3, near + 7}) {
      for (const int64_t count : {1, 3, 4, 15, 16, 17, 101}) {
        const at::Tensor numbers = uniform(11, kStream, begin, count);
        for (int64_t i = 0; i < count; ++i) {
          const auto words = philox(11, kStream, static_cast<uint64_t>((begin + i) / 4));
          const uint32_t word = words[static_cast<size_t>((begin + i) % 4)];
          ASSERT_EQ(numbers[i].item<float>(), static_cast<float>(word >> 8) * 0x1p-24F)
              << begin << " + " << i;
        }
      }
    }
  }
}

TEST(FillBytes, are_bytes_of_the_words_of_philox) {
  for (const int64_t begin : {0, 1, 6, 15, 4095}) {
    for (const int64_t count : {1, 2, 9, 17, 10000}) {
      std::vector<uint8_t> bytes(static_cast<size_t>(count));
      fill_bytes(11, 2, begin, count, bytes.data());
      for (int64_t i = 0; i < count; ++i) {
        const int64_t e = begin + i;
        const uint32_t word = philox(11, 2, static_cast<uint64_t>(e / 16))[static_cast<size_t>(e % 16 / 4)];
        ASSERT_EQ(bytes[static_cast<size_t>(i)], word >> 8 * (e % 4) & 0xffU) << e;
      }
    }
  }
}

TEST(Uniform, lies_in_the_half_open_interval_and_is_spread_evenly) {
  constexpr int64_t kCount = 40000;
  const at::Tensor numbers = uniform(1, 2, 0, kCount);
  EXPECT_GE(numbers.min().item<float>(), 0.0F);
  EXPECT_LT(numbers.max().item<float>(), 1.0F);
  // the mean of n uniform numbers has standard deviation 1 / sqrt(12 n): 0.0014 here, five of which are
  // allowed
  EXPECT_NEAR(numbers.mean().item<float>(), 0.5, 0.0072);
}

TEST(DeriveKey, differs_by_seed_and_purpose) {
  std::set<uint64_t> keys;
  for (const uint64_t seed : {0, 1, 2}) {
    for (const auto* purpose : {"", "dare", "dare2", "shift/gaussian_noise"}) {
      keys.insert(derive_key(seed, purpose));
    }
  }
  EXPECT_EQ(keys.size(), 12U);
  EXPECT_EQ(derive_key(3, "dare"), derive_key(3, "dare"));
}

TEST(Permutation, holds_every_index_once_and_depends_on_key_and_stream) {
  const auto order = permutation(5, 6, 1000);
  auto sorted = order;
  std::sort(sorted.begin(), sorted.end());
  std::vector<int64_t> identity(1000);
  std::iota(identity.begin(), identity.end(), int64_t{0});
  EXPECT_EQ(sorted, identity);
  EXPECT_NE(order, identity);
  EXPECT_NE(order, permutation(5, 7, 1000));
  EXPECT_NE(order, permutation(4, 6, 1000));
  EXPECT_EQ(order, permutation(5, 6, 1000));
  EXPECT_TRUE(permutation(5, 6, 0).empty());
}

}  // namespace
}  // namespace fusegrid
