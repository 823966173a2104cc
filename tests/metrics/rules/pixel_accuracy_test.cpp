#include <vector>

#include <gtest/gtest.h>

#include "metrics/metric.h"

namespace fusegrid::pixel_accuracy_test {
namespace {

TEST(PixelAccuracy, is_the_mean_over_pixels_of_all_examples_together) {
  const MetricRule& rule = metric_registry().at("pixel_accuracy");
  const auto value = [&](const std::vector<float>& rows) { return value_of(rule, number_rows(2, rows)); };
  EXPECT_DOUBLE_EQ(value({3, 4, 1, 12}).value(), 0.25) << "not the mean of 3/4 and 1/12";
  EXPECT_DOUBLE_EQ(value({3, 4, 0, 0}).value(), 0.75) << "an example without pixels that count";
  EXPECT_FALSE(value({0, 0}));
  EXPECT_EQ(rule.better, Better::kHigher);
}

}  // namespace
}  // namespace fusegrid::pixel_accuracy_test
