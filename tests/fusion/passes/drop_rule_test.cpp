#include "fusion/passes/drop_rule.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include "fusion/loops/slice_vector.h"
#include "support/drop_masks.h"

namespace fusegrid::drop_rule_test {
namespace {

constexpr int64_t kCount = 2 * ChunkReader::kChunk + 33;

at::Tensor kept(uint64_t key, double rate, int64_t begin, int64_t count) {
  SliceVector ones(at::ones({count}, at::TensorOptions(at::kFloat)));
  ones.drop = {key, begin, rate, 1};
  return ones.tensor() > 0;
}

TEST(DropRule, keeps_what_its_definition_keeps_wherever_a_part_begins) {
  for (const double rate : {0.0, 0.25, 0.3, 0.9, 0.99999, 1.0}) {
    for (const int64_t begin : {int64_t{0}, int64_t{1}, int64_t{7}, int64_t{16}, int64_t{1} << 35}) {
      EXPECT_TRUE(kept(3, rate, begin, kCount).equal(kept_by_definition(3, rate, begin, kCount)))
          << rate << " from " << begin;
    }
  }
}

// A rate at an entry's own number, and one just above: both have the entry's first 8 bits, so that the others decide.
TEST(DropRule, decides_by_forty_bits) {
  for (const int64_t entry : {0, 5, 10, 1'000'003}) {
    const double number = drop_number(3, entry);
    EXPECT_TRUE(kept(3, number, entry, 1).item<bool>());
    EXPECT_FALSE(kept(3, number + 0x1p-40, entry, 1).item<bool>());
    EXPECT_TRUE(kept(3, number - 0x1p-40, entry, 1).item<bool>());
  }
}

TEST(DropRule, drops_the_rate) {
  constexpr int64_t kMany = 1'000'000;
  for (const double rate : {0.1, 0.5, 0.99}) {
    const auto dropped = kMany - kept(8, rate, 0, kMany).sum().item<int64_t>();
    EXPECT_NEAR(static_cast<double>(dropped), rate * kMany, 5 * std::sqrt(kMany * rate * (1 - rate)));
  }
}

}  // namespace
}  // namespace fusegrid::drop_rule_test
