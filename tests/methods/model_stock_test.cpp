#include <cmath>

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/line_zoo.h"
#include "support/test_zoo.h"

namespace fusegrid::model_stock_test {
namespace {

TEST(ModelStock, equals_mergekit) {
  expect_golden(golden_zoo(), "model_stock", "model_stock__mergekit_default", 1.2e-7);
  expect_golden(golden_zoo(), "model_stock{unit=filters}", "model_stock__mergekit_filters", 1.2e-7);
}

// FusionBench rounds the angles to float32, which costs it digits where the ratio is steep.
TEST(ModelStock, equals_fusion_bench) {
  expect_golden(golden_zoo(), "model_stock{average=angles}", "model_stock__fusionbench_four", 1.2e-7);
  expect_golden(golden_zoo().first(2), "model_stock{average=angles}", "model_stock__fusionbench_two", 1.2e-7);
}

TEST(ModelStock, of_equal_experts_is_that_expert) {
  TestZoo zoo = random_zoo(3);
  zoo.experts[1] = zoo.experts[2] = zoo.experts[0];
  expect_close(zoo.fuse("model_stock").weights, zoo.experts[0], 3e-7);
}

TEST(ModelStock, of_orthogonal_task_vectors_is_the_base) {
  const TestZoo zoo = line_zoo({{1, 1, 0, 0}, {0, 0, 2, -2}});
  expect_line(merged_task_vector(zoo, "model_stock"), {0, 0, 0, 0});
}

// 60 degrees apart: t = 2 c / (1 + c) = 2/3, so the average moves by 2/3.
TEST(ModelStock, follows_the_formula) {
  const auto height = static_cast<float>(std::sqrt(3.0));
  const TestZoo zoo = line_zoo({{2, 0}, {1, height}});
  for (const std::string average : {"cosines", "angles"}) {
    expect_line(merged_task_vector(zoo, "model_stock{average=" + average + "}"), {1, height / 3});
  }
}

// Three task vectors whose cosines average to -1/2: the ratio has its pole there.
TEST(ModelStock, stays_at_the_base_where_the_ratio_has_a_pole) {
  const auto height = static_cast<float>(std::sqrt(3.0) / 2);
  const TestZoo zoo = line_zoo({{1, 0}, {-0.5F, height}, {-0.5F, -height}});
  expect_line(merged_task_vector(zoo, "model_stock"), {0, 0});
}

}  // namespace
}  // namespace fusegrid::model_stock_test
