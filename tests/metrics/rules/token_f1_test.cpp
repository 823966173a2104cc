#include <gtest/gtest.h>

#include "metrics/metric.h"
#include "metrics/text_overlap.h"

namespace fusegrid::token_f1_test {
namespace {

TEST(TokenF1, is_the_mean_of_the_examples) {
  const MetricRule& rule = metric_registry().at("token_f1");
  const std::vector<float> rows{static_cast<float>(word_f1("a b", "a b")),
                                static_cast<float>(word_f1("a", "a c d")),
                                static_cast<float>(word_f1("x", "y"))};
  EXPECT_EQ(value_of(rule, number_rows(1, rows)).value(), (1 + 0.5 + 0) / 3);
  EXPECT_TRUE(rule.is_mean());
  EXPECT_EQ(rule.better, Better::kHigher);
  EXPECT_EQ(rule.unit, Unit::kFraction);
}

}  // namespace
}  // namespace fusegrid::token_f1_test
