#include "zoo/adamw.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

namespace fusegrid {
namespace {

TEST(LearningRate, WarmsUpAndFallsToZero) {
  EXPECT_DOUBLE_EQ(learning_rate_at(0, 100, 2, 10), 0.2);
  EXPECT_NEAR(learning_rate_at(50, 100, 2, 10), 1, 1e-12);
  EXPECT_LT(learning_rate_at(99, 100, 2, 10), 0.001);
}

TEST(ClipGradients, LimitsTheCommonNorm) {
  const at::Tensor a = at::full({1}, 3.0);
  const at::Tensor b = at::full({1}, 4.0);
  clip_gradients({a, b}, 1);
  EXPECT_NEAR(a.item<double>(), 0.6, 1e-5);
  clip_gradients({a, b}, 10);
  EXPECT_NEAR(b.item<double>(), 0.8, 1e-5);
}

}  // namespace
}  // namespace fusegrid
