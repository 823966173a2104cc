#include "core/descent.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

namespace fusegrid::descent_test {
namespace {

TEST(LearningRate, WarmsUpAndFallsToZero) {
  EXPECT_DOUBLE_EQ(learning_rate_at(0, 100, 2, 10), 0.2);
  EXPECT_NEAR(learning_rate_at(50, 100, 2, 10), 1, 1e-12);
  EXPECT_LT(learning_rate_at(99, 100, 2, 10), 0.001);
}

// Of one number, by the formulas.
TEST(Sgd, HasNesterovsMomentumAndDecaysWithTheGradient) {
  constexpr double kDecay = 0.1, kMomentum = 0.9, kRate = 0.05;
  const at::Tensor x = at::full({1}, 2.0, at::kDouble);
  Sgd sgd({x}, kDecay, kMomentum);
  double expected = 2, velocity = 0;
  for (const double slope : {1.0, -3.0, 0.5}) {
    const double gradient = slope + kDecay * expected;
    velocity = kMomentum * velocity + gradient;
    expected -= kRate * (gradient + kMomentum * velocity);
    sgd.step({at::full({1}, slope, at::kDouble)}, kRate);
    EXPECT_NEAR(x.item<double>(), expected, 1e-14);
  }
}

}  // namespace
}  // namespace fusegrid::descent_test
