#include <gtest/gtest.h>

#include "metrics/metric.h"
#include "metrics/text_overlap.h"
#include "metrics/text_overlap_golden.h"

namespace fusegrid::rouge_l_test {
namespace {

TEST(RougeL, is_the_mean_of_the_examples) {
  const MetricRule& rule = metric_registry().at("rouge_l");
  std::vector<float> rows;
  double sum = 0;
  for (const auto& pair : text_overlap_golden()["pairs"]) {
    rows.push_back(static_cast<float>(rouge_l(pair["answer"], pair["wanted"])));
    sum += pair["rouge_l"].get<double>();
  }
  EXPECT_NEAR(value_of(rule, number_rows(1, rows)).value(), sum / static_cast<double>(rows.size()), 1e-7);
  EXPECT_TRUE(rule.is_mean());
  EXPECT_EQ(rule.better, Better::kHigher);
  EXPECT_EQ(rule.unit, Unit::kFraction);
}

}  // namespace
}  // namespace fusegrid::rouge_l_test
