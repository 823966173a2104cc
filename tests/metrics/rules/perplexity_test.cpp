#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "metrics/metric.h"

namespace fusegrid::perplexity_test {
namespace {

std::optional<double> perplexity(const std::vector<float>& rows) {
  return value_of(metric_registry().at("perplexity"), number_rows(2, rows));
}

TEST(Perplexity, is_that_of_all_tokens_together) {
  EXPECT_DOUBLE_EQ(perplexity({6, 3, 1, 4}).value(), std::exp(7.0 / 7));
  const float of_five = 10 * std::log(5.0F);  // five tokens are equally likely, ten times
  EXPECT_NEAR(perplexity({of_five, 10}).value(), 5, 1e-5);
  const MetricRule& rule = metric_registry().at("perplexity");
  EXPECT_FALSE(rule.is_mean());
  EXPECT_EQ(rule.better, Better::kLower);
}

TEST(Perplexity, is_undefined_where_it_is_no_finite_number) {
  EXPECT_TRUE(perplexity({700, 1}));
  EXPECT_FALSE(perplexity({800, 1}));
  EXPECT_FALSE(perplexity({0, 0}));
}

}  // namespace
}  // namespace fusegrid::perplexity_test
