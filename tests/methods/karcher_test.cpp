#include <cmath>
#include <numbers>

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/line_zoo.h"
#include "support/test_zoo.h"

namespace fusegrid::karcher_test {
namespace {

TestZoo vectors_zoo(const std::vector<std::vector<float>>& vectors) {
  TestZoo zoo = line_zoo(vectors);
  for (Weights& expert : zoo.experts) {
    expert.at("w") -= 1;
  }
  return zoo;
}

TEST(Karcher, equals_mergekit) {
  expect_golden(golden_zoo(), "karcher", "karcher__mergekit_default", 1.2e-7);
}

TEST(Karcher, of_two_is_slerp_in_the_middle) {
  const TestZoo zoo = vectors_zoo({{3, 0, 4}, {0, 5, 0}});
  expect_close(zoo.fuse("karcher").weights, zoo.fuse("slerp").weights, 1e-6);
}

TEST(Karcher, of_equal_models_is_that_model) {
  TestZoo zoo = random_zoo(3);
  zoo.experts[1] = zoo.experts[2] = zoo.experts[0];
  expect_close(zoo.fuse("karcher").weights, zoo.experts[0], 3e-7);
}

// Angles 0, 30 and 120 degrees in a plane: the mean direction is at 50 degrees, not where the average points.
TEST(Karcher, is_the_mean_of_the_angles) {
  std::vector<std::vector<float>> vectors;
  for (const double degrees : {0.0, 30.0, 120.0}) {
    const double angle = degrees * std::numbers::pi / 180;
    vectors.push_back({static_cast<float>(2 * std::cos(angle)), static_cast<float>(2 * std::sin(angle))});
  }
  const at::Tensor merged = vectors_zoo(vectors).fuse("karcher{max_iter=50,tol=1e-9}").weights.at("w");
  const double fifty = 50 * std::numbers::pi / 180;
  expect_line(merged, {2 * std::cos(fifty), 2 * std::sin(fifty)});
}

TEST(Karcher, counts_zero_tensors_in_the_radius_only) {
  const TestZoo zoo = vectors_zoo({{3, 4}, {0, 0}});
  expect_line(zoo.fuse("karcher").weights.at("w"), {1.5, 2});
  const TestZoo zeros = vectors_zoo({{0, 0}, {0, 0}});
  expect_line(zeros.fuse("karcher").weights.at("w"), {0, 0});
}

}  // namespace
}  // namespace fusegrid::karcher_test
