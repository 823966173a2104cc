#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "core/descent.h"
#include "core/philox.h"
#include "core/role.h"
#include "fusion/whole_model/curve.h"
#include "methods/path_checks.h"

namespace fusegrid::bezier_curve_test {
namespace {

constexpr int64_t kBatch = 10;

// The bend between two models after some steps: autograd goes through the curve itself and its decay.
Weights trained_bend(const TestZoo& zoo, int64_t steps, double lr, double decay) {
  const Weights &first = zoo.experts[0], &second = zoo.experts[1];
  Weights bend, velocity;
  for (const auto& [name, tensor] : first) {
    bend[name] = tensor.is_floating_point() ? (tensor + second.at(name)) / 2 : tensor;
    velocity[name] = tensor * 0;
  }
  for (int64_t step = 0; step < steps; ++step) {
    const double t = uniform(derive_key(zoo.seed, "curve/t"), 0, step, 1).item<double>();
    const double rate = learning_rate_at(step, steps, lr, std::max<int64_t>(steps / 10, 1));
    const at::AutoGradMode with_gradients(true);
    Weights leaves = bend, point = bend;
    at::Tensor squares;
    for (auto& [name, leaf] : leaves) {
      if (!leaf.is_floating_point()) {
        continue;
      }
      leaf = leaf.detach().clone().requires_grad_(true);
      point[name] = (1 - t) * (1 - t) * first.at(name) + 2 * t * (1 - t) * leaf + t * t * second.at(name);
      const TensorInfo info{name, leaf.sizes().vec(), at::kFloat};
      if (role_of(info) == Role::kMatrix || role_of(info) == Role::kConvolution) {
        const at::Tensor square = (point[name] * point[name]).sum();
        squares = squares.defined() ? squares + square : square;
      }
    }
    (loss_of_batch(zoo, point, "curve", kBatch, step) + decay / 2 * squares).backward();
    for (auto& [name, leaf] : leaves) {
      if (leaf.is_floating_point() && leaf.grad().defined()) {
        velocity[name] = 0.9 * velocity[name] + leaf.grad();
        bend[name] = leaf.detach() - rate * (leaf.grad() + 0.9 * velocity[name]);
      }
    }
  }
  return bend;
}

TEST(BezierCurve, trains_its_bend_as_autograd_through_the_curve_does) {
  TestZoo zoo = random_zoo(2, 0.3);
  zoo.seed = 5;
  const Weights bend = trained_bend(zoo, 4, 0.05, 0.1);
  Weights expected;
  for (const auto& [name, tensor] : bend) {
    expected[name] = tensor.is_floating_point()
                         ? 0.49 * zoo.experts[0].at(name) + 0.42 * tensor + 0.09 * zoo.experts[1].at(name)
                         : tensor;
  }
  const Weights point = zoo.fuse("bezier_curve{t=0.3,steps=4,lr=0.05,weight_decay=0.1,batch=10}").weights;
  expect_close(point, expected, 2e-6);
}

TEST(BezierCurve, ends_at_its_ends) {
  const TestZoo zoo = random_zoo(2, 0.3);
  expect_close(zoo.fuse("bezier_curve{t=0,steps=2,bends=3}").weights, zoo.experts[0], 1e-7);
  expect_close(zoo.fuse("bezier_curve{t=1,steps=2,bends=3}").weights, zoo.experts[1], 1e-7);
}

TEST(BezierCurve, untrained_is_the_line) {
  const TestZoo zoo = random_zoo(2, 0.3);
  expect_close(zoo.fuse("bezier_curve{t=0.3,steps=0,bends=2}").weights,
               zoo.fuse("linear_interpolation{t=0.3}").weights, 3e-7);
}

TEST(BezierCurve, is_trained_once_for_all_its_points) {
  const TestZoo zoo = random_zoo(2, 0.3);
  for (const std::string t : {"0.2", "0.5", "0.8"}) {
    zoo.fuse("bezier_curve{steps=2,t=" + t + "}");
  }
  ASSERT_EQ(zoo.cache->computed().size(), 1U);
  EXPECT_EQ(zoo.cache->computed().begin()->second, 1);
}

TEST(CurveCoefficients, sum_to_one_and_are_those_of_the_formulas) {
  for (const auto shape : {CurveShape::kBezier, CurveShape::kPolygonalChain}) {
    for (int64_t bends = 1; bends < 6; ++bends) {
      for (const double t : {0.0, 0.13, 0.5, 0.77, 1.0}) {
        double sum = 0;
        for (const double coefficient : curve_coefficients(shape, bends, t)) {
          EXPECT_GE(coefficient, 0);
          sum += coefficient;
        }
        EXPECT_NEAR(sum, 1, 1e-14);
      }
    }
  }
  const auto cubic = curve_coefficients(CurveShape::kBezier, 2, 0.25);
  EXPECT_NEAR(cubic[0], 27.0 / 64, 1e-15);
  EXPECT_NEAR(cubic[1], 27.0 / 64, 1e-15);
  EXPECT_NEAR(cubic[2], 9.0 / 64, 1e-15);
  EXPECT_NEAR(cubic[3], 1.0 / 64, 1e-15);
}

}  // namespace
}  // namespace fusegrid::bezier_curve_test
