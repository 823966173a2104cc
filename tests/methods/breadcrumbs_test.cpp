#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/line_zoo.h"
#include "support/test_zoo.h"

namespace fusegrid::breadcrumbs_test {
namespace {

const std::string kWeights = "weights=0.5:0.3:0.2:0.4";

TEST(Breadcrumbs, equals_mergekit) {
  expect_golden(golden_zoo(), "breadcrumbs{density=0.6,gamma=0.1,scale=1," + kWeights + "}",
                "breadcrumbs__mergekit_default", 1.2e-7);
  expect_golden(
      golden_zoo(),
      "breadcrumbs{density=0.6,gamma=0.1,scale=0.7,elect=true,merge=mean,rescale=l1," + kWeights + "}",
      "breadcrumbs__mergekit_ties_rescaled", 1.2e-7);
}

TEST(Breadcrumbs, drops_the_largest_and_the_smallest) {
  const TestZoo zoo = line_zoo({{1, -2, 3, -4, 5, -6, 7, -8, 9, -10}});
  expect_line(merged_task_vector(zoo, "breadcrumbs{density=0.5,gamma=0.2,scale=1}"),
              {0, 0, 0, -4, 5, -6, 7, -8, 0, 0});
}

TEST(Breadcrumbs, drops_fewer_of_the_largest_where_the_rest_would_not_be_enough) {
  const TestZoo zoo = line_zoo({{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}});
  expect_line(merged_task_vector(zoo, "breadcrumbs{density=0.9,gamma=0.5,scale=1}"),
              {1, 2, 3, 4, 5, 6, 7, 8, 9, 0});
}

TEST(Breadcrumbs, keeps_the_l1_norm_if_asked) {
  const TestZoo zoo = line_zoo({{1, -2, 3, -4}});
  expect_line(merged_task_vector(zoo, "breadcrumbs{density=0.5,gamma=0.25,rescale=l1,scale=1}"),
              {0, -4, 6, 0});
}

TEST(Breadcrumbs, of_density_one_is_task_arithmetic) {
  const TestZoo zoo = random_zoo(3);
  expect_close(zoo.fuse("breadcrumbs{density=1,scale=0.4}").weights,
               zoo.fuse("task_arithmetic{scale=0.4}").weights, 2e-7);
}

TEST(Breadcrumbs, without_dropping_the_largest_is_trimmed_task_arithmetic) {
  const TestZoo zoo = random_zoo(3);
  expect_close(zoo.fuse("breadcrumbs{density=0.3,gamma=0,scale=0.4}").weights,
               zoo.fuse("trimmed_task_arithmetic{density=0.3,scope=tensor,scale=0.4}").weights, 2e-7);
  expect_close(zoo.fuse("breadcrumbs{density=0.3,gamma=0,elect=true,scale=0.4}").weights,
               zoo.fuse("ties{density=0.3,dialect=mergekit,scale=0.4}").weights, 2e-7);
}

TEST(Breadcrumbs, shares_one_direction_between_all_scales) {
  const TestZoo zoo = random_zoo(2);
  for (const std::string scale : {"0.1", "0.2", "0.7"}) {
    zoo.fuse("breadcrumbs{scale=" + scale + "}");
  }
  EXPECT_EQ(zoo.cache->computed().size(), 1U);
  EXPECT_EQ(zoo.cache->computed().begin()->second, 1);
}

}  // namespace
}  // namespace fusegrid::breadcrumbs_test
