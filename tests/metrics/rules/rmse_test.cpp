#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "metrics/metric.h"

namespace fusegrid {
namespace {

std::optional<double> rmse_of(const std::vector<float>& squared_errors) {
  return value_of(metric_registry().at("rmse"), number_rows(1, squared_errors));
}

TEST(Rmse, is_the_root_of_the_mean_of_the_squared_errors) {
  EXPECT_DOUBLE_EQ(rmse_of({9, 16}).value(), std::sqrt(12.5));
  EXPECT_EQ(rmse_of({4, 0, 0, 0}).value(), 1);  // examples without an error count
  EXPECT_EQ(rmse_of({0, 0}).value(), 0);
  EXPECT_FALSE(metric_registry().at("rmse").is_mean()) << "a mean of roots is no root of a mean";
}

TEST(Rmse, is_better_where_it_is_lower_and_has_no_unit_of_its_own) {
  EXPECT_EQ(metric_registry().at("rmse").better, Better::kLower);
  EXPECT_EQ(metric_registry().at("rmse").unit, Unit::kNone);
}

}  // namespace
}  // namespace fusegrid
