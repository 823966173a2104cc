#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/line_zoo.h"
#include "support/test_zoo.h"

namespace fusegrid::magmax_test {
namespace {

TEST(Magmax, equals_fusion_bench) {
  expect_golden(golden_zoo(), "magmax{scale=0.5}", "magmax__default", 1.2e-7);
}

TEST(Magmax, takes_the_largest_magnitude_and_of_equal_ones_the_later) {
  const TestZoo zoo = line_zoo({{1, -3, 2, 0}, {-2, 1, -2, 0.5F}});
  expect_line(merged_task_vector(zoo, "magmax{scale=1}"), {-2, -3, -2, 0.5});
}

TEST(Magmax, of_one_expert_and_of_disjoint_experts_is_task_arithmetic) {
  const TestZoo one = random_zoo(1);
  EXPECT_EQ(digest(one.fuse("magmax{scale=0.4}").weights),
            digest(one.fuse("task_arithmetic{scale=0.4}").weights));
  const TestZoo disjoint = line_zoo({{1, 0, 0, -2}, {0, 3, 0, 0}, {0, 0, -4, 0}});
  expect_line(merged_task_vector(disjoint, "magmax{scale=1}"), {1, 3, -4, -2});
}

TEST(Magmax, of_equal_experts_is_idempotent) {
  TestZoo zoo = random_zoo(3);
  zoo.experts[1] = zoo.experts[2] = zoo.experts[0];
  expect_close(zoo.fuse("magmax{scale=1}").weights, zoo.experts[0], 1.5e-7);
}

}  // namespace
}  // namespace fusegrid::magmax_test
