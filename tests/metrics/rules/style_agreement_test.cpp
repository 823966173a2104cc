#include <vector>

#include <gtest/gtest.h>

#include "metrics/metric.h"

namespace fusegrid::style_agreement_test {
namespace {

TEST(StyleAgreement, is_the_share_of_pictures_that_agree) {
  const MetricRule& rule = metric_registry().at("style_agreement");
  EXPECT_DOUBLE_EQ(value_of(rule, number_rows(1, std::vector<float>{1, 0, 0, 1})).value(), 0.5);
  EXPECT_FALSE(value_of(rule, number_rows(1, {})));
  EXPECT_TRUE(rule.is_mean());
}

}  // namespace
}  // namespace fusegrid::style_agreement_test
