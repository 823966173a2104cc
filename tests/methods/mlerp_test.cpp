#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::mlerp_test {
namespace {

TestZoo pair_zoo(const at::Tensor& a, const at::Tensor& b) {
  TestZoo zoo = random_zoo(2);
  zoo.base = {{"w", at::zeros_like(a)}};
  zoo.experts = {{{"w", a}}, {{"w", b}}};
  return zoo;
}

double length(const at::Tensor& tensor) {
  return tensor.to(at::kDouble).norm().item<double>();
}

TEST(Mlerp, of_two_models_of_equal_norm_is_slerp_in_the_middle) {
  const TestZoo zoo = pair_zoo(at::tensor({3.0F, 4.0F, 0.0F}), at::tensor({0.0F, 4.0F, -3.0F}));
  expect_close(zoo.fuse("mlerp").weights, zoo.fuse("slerp{t=0.5}").weights, 5e-7);
}

TEST(Mlerp, has_the_mean_or_the_largest_norm_of_the_experts) {
  const TestZoo zoo = random_zoo(3);
  const auto length_of = [](const Weights& weights) {
    double squared = 0;
    for (const auto& [name, tensor] : weights) {
      squared += tensor.is_floating_point() ? std::pow(length(tensor), 2) : 0;
    }
    return std::sqrt(squared);
  };
  const double a = length_of(zoo.experts[0]);
  const double b = length_of(zoo.experts[1]);
  const double c = length_of(zoo.experts[2]);
  EXPECT_NEAR(length_of(zoo.fuse("mlerp{norm=mean}").weights), (a + b + c) / 3, 1e-5);
  EXPECT_NEAR(length_of(zoo.fuse("mlerp{norm=max}").weights), std::max({a, b, c}), 1e-5);
}

TEST(Mlerp, points_where_the_average_points) {
  const TestZoo zoo = random_zoo(3);
  const Weights merged = zoo.fuse("mlerp").weights;
  const Weights average = zoo.fuse("simple_average").weights;
  const std::string name = "vision_model.encoder.layers.0.mlp.fc1.weight";
  const double factor = length(merged.at(name)) / length(average.at(name));
  EXPECT_GT(factor, 1.0);
  expect_close(merged.at(name), average.at(name) * factor, 3e-7);
}

TEST(Mlerp, of_opposite_models_is_zero_and_finite) {
  const at::Tensor a = at::tensor({1.0F, 2.0F});
  expect_close(pair_zoo(a, -a).fuse("mlerp").weights.at("w"), a * 0, 0);
}

}  // namespace
}  // namespace fusegrid::mlerp_test
