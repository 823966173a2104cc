#include <gtest/gtest.h>

#include "metrics/metric.h"

namespace fusegrid::exact_match_test {
namespace {

TEST(ExactMatch, is_the_share_of_answers_that_are_the_wanted_text) {
  const MetricRule& rule = metric_registry().at("exact_match");
  EXPECT_EQ(value_of(rule, number_rows(1, std::vector<float>{1, 0, 0, 1, 1})).value(), 3.0 / 5);
  EXPECT_EQ(value_of(rule, number_rows(1, std::vector<float>{0, 0})).value(), 0);
  EXPECT_TRUE(rule.is_mean());
  EXPECT_EQ(rule.better, Better::kHigher);
  EXPECT_EQ(rule.unit, Unit::kFraction);
}

}  // namespace
}  // namespace fusegrid::exact_match_test
