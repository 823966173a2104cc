#include <cmath>

#include <gtest/gtest.h>

#include "metrics/metric.h"

namespace fusegrid {
namespace {

TEST(Loss, is_the_mean_negative_log_probability) {
  const MetricRule& rule = metric_registry().at("loss");
  const auto half = static_cast<float>(-std::log(0.5));
  const auto quarter = static_cast<float>(-std::log(0.25));
  // two labels at 1/2 and 1/4: log 2 and 2 log 2
  EXPECT_NEAR(value_of(rule, number_rows(1, std::vector<float>{half, quarter})).value(), 1.5 * std::log(2),
              1e-7);
  EXPECT_TRUE(rule.is_mean());
  EXPECT_EQ(rule.better, Better::kLower);
  EXPECT_EQ(rule.unit, Unit::kNats);
}

}  // namespace
}  // namespace fusegrid
