#include <vector>

#include <gtest/gtest.h>

#include "metrics/metric.h"

namespace fusegrid::bits_per_byte_test {
namespace {

std::optional<double> bits_per_byte(const std::vector<float>& rows) {
  return value_of(metric_registry().at("bits_per_byte"), number_rows(2, rows));
}

TEST(BitsPerByte, are_those_of_all_texts_together) {
  EXPECT_EQ(bits_per_byte({6, 3, 1, 11}).value(), 7.0 / 14);
  EXPECT_EQ(bits_per_byte({6, 3, 1, 0}).value(), 7.0 / 3) << "tokens that are no text cost bits as well";
  const MetricRule& rule = metric_registry().at("bits_per_byte");
  EXPECT_FALSE(rule.is_mean());
  EXPECT_EQ(rule.better, Better::kLower);
}

TEST(BitsPerByte, are_undefined_without_text) {
  EXPECT_FALSE(bits_per_byte({6, 0}));
}

}  // namespace
}  // namespace fusegrid::bits_per_byte_test
