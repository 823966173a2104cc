#include "zoo/adamw.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

namespace fusegrid {
namespace {

TEST(ClipGradients, LimitsTheCommonNorm) {
  const at::Tensor a = at::full({1}, 3.0);
  const at::Tensor b = at::full({1}, 4.0);
  clip_gradients({a, b}, 1);
  EXPECT_NEAR(a.item<double>(), 0.6, 1e-5);
  clip_gradients({a, b}, 10);
  EXPECT_NEAR(b.item<double>(), 0.8, 1e-5);
}

// The gradient of a sum is one number for all entries; the kernel would read behind it.
TEST(AdamW, ReadsGradientsWhateverTheirStridesAre) {
  const at::Tensor one = at::full({64}, 1.0F), other = at::full({64}, 1.0F);
  AdamW of_one({one}, 0.1, 0.9, 0.98), of_other({other}, 0.1, 0.9, 0.98);
  of_one.step({at::full({1}, 0.5F).expand({64})}, 0.01);
  of_other.step({at::full({64}, 0.5F)}, 0.01);
  EXPECT_TRUE(one.equal(other));
}

// The first step of Adam is the learning rate towards the sign of the gradient.
TEST(AdamW, RelativeStepsAreInUnitsOfTheRootMeanSquare) {
  const at::Tensor large = at::full({4}, 3.0F);
  const at::Tensor small = at::full({4}, 1e-5F);
  AdamW optimiser({large, small}, 0, 0.9, 0.98, /*relative=*/true);
  optimiser.step({at::full({4}, 0.5F), at::full({4}, -7.0F)}, 0.01);
  EXPECT_NEAR(large[0].item<double>(), 3 - 3 * 0.01, 1e-5);
  EXPECT_NEAR(small[0].item<double>(), 1e-5 + 1e-3 * 0.01, 1e-9) << "no tensor counts as smaller than 1e-3";
}

// Written out from the formulas of Adam, with the moments' bias taken out.
TEST(AdamW, RelativeStepsAreThoseOfAdamOtherwise) {
  const at::Tensor weight = at::full({1}, 2.0F);
  AdamW optimiser({weight}, 0, 0.9, 0.98, /*relative=*/true);
  double first = 0, second = 0, expected = 2;
  for (int step = 1; step <= 3; ++step) {
    const double gradient = 0.3 * step;
    first = 0.9 * first + 0.1 * gradient;
    second = 0.98 * second + 0.02 * gradient * gradient;
    const double move =
        first / (1 - std::pow(0.9, step)) / (std::sqrt(second / (1 - std::pow(0.98, step))) + 1e-8);
    expected -= 0.05 * expected * move;
    optimiser.step({at::full({1}, static_cast<float>(gradient))}, 0.05);
    EXPECT_NEAR(weight.item<double>(), expected, 1e-6);
  }
}

}  // namespace
}  // namespace fusegrid
