#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::weighted_average_test {
namespace {

constexpr double kTolerance = 3e-7;  // 2 to 3 ulp of float32 at 1

TEST(WeightedAverage, equals_fusion_bench_and_mergekit) {
  const TestZoo zoo = golden_zoo();
  const auto with = [&](const std::string& options) {
    return zoo.fuse("weighted_average{" + options + "}").weights;
  };
  expect_close(with("weights=0.1:0.2:0.3:0.6,normalize=true"),
               read_golden("weighted_average__normalized").tensors, kTolerance);
  expect_close(with("weights=0.1:0.2:0.3:0.6,normalize=false"), read_golden("weighted_average__raw").tensors,
               kTolerance);
  expect_close(with("weights=0.5:0.3:0.2:0.4,normalize=true"),
               read_golden("weighted_average__mergekit_normalized_float64").tensors, kTolerance);
  expect_close(with("weights=0.5:0.3:0.2:0.4,normalize=false"),
               read_golden("weighted_average__mergekit_raw_float64").tensors, kTolerance);
}

TEST(WeightedAverage, with_one_weight_is_that_expert) {
  const TestZoo zoo = random_zoo(3);
  EXPECT_EQ(digest(zoo.fuse("weighted_average{weights=0:2:0}").weights), digest(zoo.experts[1]));
}

TEST(WeightedAverage, without_weights_is_the_simple_average) {
  const TestZoo zoo = random_zoo(3);
  expect_close(zoo.fuse("weighted_average").weights, zoo.fuse("simple_average").weights, 1.2e-7);
}

TEST(WeightedAverage, refuses_weights_of_another_number_or_of_sum_zero) {
  const TestZoo zoo = random_zoo(3);
  EXPECT_THROW(zoo.fuse("weighted_average{weights=1:2}"), ConfigError);
  EXPECT_THROW(zoo.fuse("weighted_average{weights=1:-2:1}"), ConfigError);
  EXPECT_NO_THROW(zoo.fuse("weighted_average{weights=1:-2:1,normalize=false}"));
}

}  // namespace
}  // namespace fusegrid::weighted_average_test
