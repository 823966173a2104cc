// What holds for models that route by parameters which the entropy trains.
#pragma once

#include <cmath>
#include <string>

#include <ATen/TensorOperators.h>
#include <ATen/ops/log_softmax.h>
#include <gtest/gtest.h>

#include "support/test_zoo.h"

namespace fusegrid {

// Mean entropy over all of a task's test images, summed over tasks.
inline double entropy(const TestZoo& zoo, const Merged& merged) {
  double sum = 0;
  for (const std::string& task : zoo.tasks) {
    const at::Tensor log_p = at::log_softmax(zoo.logits(merged, task).to(at::kDouble), 1);
    sum -= (log_p.exp() * log_p).sum(1).mean().item<double>();
  }
  return sum;
}

// Adam's first step, of 0.001 from 0.3, goes against the slope of the entropy, which finite differences of `apart` tell
// too. before, after: the model without a step and with one; name: of the constant parameters of its routers, which
// must be as many as told.
inline void expect_step_against_the_slope(const TestZoo& zoo, const Merged& before, const Merged& after,
                                          const std::string& name, int64_t count, double apart,
                                          double least_slope) {
  at::Tensor constants = before.weights.at(name);  // the model's own: writing to it moves the model
  const at::Tensor moved = after.weights.at(name);
  ASSERT_EQ(moved.numel(), count);
  for (int64_t i = 0; i < count; ++i) {
    const auto at_shift = [&](double shift) {
      constants[i] += shift;
      const double value = entropy(zoo, before);
      constants[i] -= shift;
      return value;
    };
    const double slope = (at_shift(apart) - at_shift(-apart)) / (2 * apart);
    ASSERT_GT(std::abs(slope), least_slope) << "the test needs a clear slope";
    EXPECT_NEAR(moved[i].item<double>(), 0.3 - (slope > 0 ? 0.001 : -0.001), 1e-6);
  }
}

}  // namespace fusegrid
