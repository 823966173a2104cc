#include <vector>

#include <gtest/gtest.h>

#include "metrics/metric.h"

namespace fusegrid::recall_5_test {
namespace {

TEST(MetricRules, recall_5_is_a_mean_of_hits) {
  const MetricRule& rule = metric_registry().at("recall_5");
  EXPECT_DOUBLE_EQ(value_of(rule, number_rows(1, std::vector<float>{1, 0, 0.5, 1})).value(), 0.625);
  EXPECT_FALSE(value_of(rule, number_rows(1, {})));
  EXPECT_TRUE(rule.is_mean());
}

}  // namespace
}  // namespace fusegrid::recall_5_test
