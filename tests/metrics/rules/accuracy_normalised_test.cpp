#include <gtest/gtest.h>

#include "metrics/metric.h"

namespace fusegrid {
namespace {

TEST(AccuracyNormalised, is_the_share_of_right_answers) {
  const MetricRule& rule = metric_registry().at("accuracy_normalised");
  EXPECT_EQ(value_of(rule, number_rows(1, std::vector<float>{1, 0, 0, 1})).value(), 0.5);
  EXPECT_TRUE(rule.is_mean());
  EXPECT_EQ(rule.better, Better::kHigher);
  EXPECT_EQ(rule.unit, Unit::kFraction);
}

}  // namespace
}  // namespace fusegrid
