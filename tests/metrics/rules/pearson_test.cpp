#include <vector>

#include <gtest/gtest.h>

#include "metrics/metric.h"

namespace fusegrid {
namespace {

std::optional<double> correlation(const std::vector<float>& answers, const std::vector<float>& labels) {
  std::vector<float> numbers;
  for (size_t e = 0; e < answers.size(); ++e) {
    const float x = answers[e];
    const float y = labels[e];
    numbers.insert(numbers.end(), {x, y, x * x, y * y, x * y});
  }
  const MetricRule& rule = metric_registry().at("pearson");
  return value_of(rule, number_rows(rule.width, numbers));
}

TEST(Pearson, is_that_of_scipy) {
  const auto value = correlation({1.5, 2, 3.25, 0.5, 4, 2.75, -1}, {1, 2.5, 3, 0, 4.5, 2, -0.5});
  EXPECT_NEAR(value.value(), 0.9491113788356725, 1e-14);  // scipy.stats.pearsonr
}

TEST(Pearson, does_not_depend_on_origin_and_scale) {
  const std::vector<float> labels{1, 2, 4, 8};
  const double value = correlation({3, 1, 2, 5}, labels).value();
  EXPECT_NEAR(correlation({16, 14, 15, 18}, labels).value(), value, 1e-12);
  EXPECT_NEAR(correlation({6, 2, 4, 10}, labels).value(), value, 1e-12);
  EXPECT_NEAR(correlation({-3, -1, -2, -5}, labels).value(), -value, 1e-12);
  EXPECT_NEAR(correlation(labels, {3, 1, 2, 5}).value(), value, 1e-12);
}

TEST(Pearson, of_a_line_is_one) {
  EXPECT_LE(correlation({0.1F, 0.2F, 0.7F}, {0.1F, 0.2F, 0.7F}).value(), 1);
  EXPECT_NEAR(correlation({0.1F, 0.2F, 0.7F}, {0.1F, 0.2F, 0.7F}).value(), 1, 1e-6);
}

TEST(Pearson, is_undefined_where_one_side_is_constant_up_to_rounding) {
  EXPECT_FALSE(correlation({0.1F, 0.1F, 0.1F}, {1, 2, 3}));
  EXPECT_FALSE(correlation({1, 2, 3}, {1e6F / 3, 1e6F / 3, 1e6F / 3}));
  EXPECT_FALSE(correlation({0, 0}, {1, 2}));
  EXPECT_FALSE(correlation({1}, {2}));
}

}  // namespace
}  // namespace fusegrid
