#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/line_zoo.h"
#include "support/test_zoo.h"

namespace fusegrid::wise_ft_test {
namespace {

// The golden file is FusionBench's interpolation between the base and expert 0.
TEST(WiseFt, equals_interpolation_with_the_base) {
  expect_golden(golden_zoo().first(1), "wise_ft{alpha=0.4}", "wise_ft__alpha04", 1.2e-7);
}

TEST(WiseFt, goes_from_the_base_to_the_average) {
  const TestZoo zoo = random_zoo(3);
  EXPECT_EQ(digest(zoo.fuse("wise_ft{alpha=0}").weights), digest(zoo.base));
  expect_close(zoo.fuse("wise_ft{alpha=1}").weights, zoo.fuse("simple_average").weights, 3e-7);
}

TEST(WiseFt, is_task_arithmetic_with_a_share_of_alpha) {
  const TestZoo zoo = random_zoo(4);
  EXPECT_EQ(digest(zoo.fuse("wise_ft{alpha=0.6}").weights),
            digest(zoo.fuse("task_arithmetic{scale=0.15}").weights));
}

TEST(WiseFt, shares_one_direction_between_all_alphas) {
  const TestZoo zoo = random_zoo(2);
  for (const std::string alpha : {"0.1", "0.2", "0.7"}) {
    zoo.fuse("wise_ft{alpha=" + alpha + "}");
  }
  EXPECT_EQ(zoo.cache->computed().size(), 1U);
  EXPECT_EQ(zoo.cache->computed().begin()->second, 1);
}

}  // namespace
}  // namespace fusegrid::wise_ft_test
