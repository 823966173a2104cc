#include <vector>

#include <gtest/gtest.h>

#include "metrics/correlation.h"
#include "metrics/metric.h"
#include "metrics/text_overlap_golden.h"

namespace fusegrid::spearman_test {
namespace {

// Of ranks, divided by `total`.
std::optional<double> of_ranks(const std::vector<float>& x, const std::vector<float>& y, float total) {
  std::vector<float> rows;
  for (size_t i = 0; i < x.size(); ++i) {
    add_pair(rows, x[i] / total, y[i] / total);
  }
  const MetricRule& rule = metric_registry().at("spearman");
  EXPECT_EQ(rule.width, kPairWidth);
  return value_of(rule, number_rows(rule.width, rows));
}

TEST(Spearman, of_ranks_with_ties_is_that_of_scipy) {
  const auto& golden = text_overlap_golden()["spearman"];
  const std::vector<float> x = golden["x_ranks"];
  EXPECT_NEAR(of_ranks(x, golden["y_ranks"], static_cast<float>(x.size())).value(),
              golden["value"].get<double>(), 1e-14);
}

TEST(Spearman, of_equal_and_of_opposite_orders_is_one_and_minus_one) {
  EXPECT_NEAR(of_ranks({1, 2, 3, 4}, {1, 2, 3, 4}, 4).value(), 1, 1e-14);
  EXPECT_NEAR(of_ranks({1, 2, 3, 4}, {4, 3, 2, 1}, 4).value(), -1, 1e-14);
}

TEST(Spearman, is_undefined_where_one_side_is_all_alike) {
  EXPECT_FALSE(of_ranks({2, 2, 2}, {1, 2, 3}, 3));
  EXPECT_FALSE(of_ranks({1, 2, 3}, {2, 2, 2}, 3));
  EXPECT_FALSE(of_ranks({1}, {1}, 1));
}

// Reports draw parts of a split, whose examples keep their ranks among all.
TEST(Spearman, of_a_part_of_a_split_is_of_the_ranks_in_the_whole) {
  EXPECT_NEAR(of_ranks({500, 510, 520}, {700, 730, 750}, 1000).value(), 0.9933992677987828, 1e-3);
}

}  // namespace
}  // namespace fusegrid::spearman_test
