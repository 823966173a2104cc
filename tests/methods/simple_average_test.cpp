#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::simple_average_test {
namespace {

constexpr double kTolerance = 3e-7;  // 2 to 3 ulp of float32 at 1

TEST(SimpleAverage, equals_fusion_bench) {
  const Merged merged = golden_zoo().fuse("simple_average");
  expect_close(merged.weights, read_golden("simple_average__default").tensors, kTolerance);
}

TEST(SimpleAverage, of_one_expert_is_that_expert) {
  const TestZoo zoo = random_zoo(1);
  EXPECT_EQ(digest(zoo.fuse("simple_average").weights), digest(zoo.experts[0]));
}

TEST(SimpleAverage, of_equal_experts_is_that_expert) {
  TestZoo zoo = random_zoo(3);
  zoo.experts = {zoo.experts[0], zoo.experts[0], zoo.experts[0]};
  expect_close(zoo.fuse("simple_average").weights, zoo.experts[0], 1e-7);
}

}  // namespace
}  // namespace fusegrid::simple_average_test
