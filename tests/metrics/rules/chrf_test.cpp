#include <cmath>

#include <gtest/gtest.h>

#include "metrics/metric.h"
#include "metrics/text_overlap.h"
#include "metrics/text_overlap_golden.h"

namespace fusegrid::chrf_test {
namespace {

std::optional<double> value(const std::vector<float>& rows) {
  const MetricRule& rule = metric_registry().at("chrf");
  return value_of(rule, number_rows(rule.width, rows));
}

TEST(Chrf, counts_over_all_examples_as_sacrebleu) {
  std::vector<float> rows;
  double mean = 0;
  for (const auto& pair : text_overlap_golden()["pairs"]) {
    const NgramCounts counts = ngram_counts(pair["answer"], pair["wanted"]);
    rows.insert(rows.end(), counts.begin(), counts.end());
    mean += pair["chrf"].get<double>() / static_cast<double>(text_overlap_golden()["pairs"].size());
  }
  EXPECT_NEAR(value(rows).value(), text_overlap_golden()["corpus_chrf"].get<double>(), 1e-14);
  EXPECT_GT(std::abs(value(rows).value() - mean), 0.01) << "which is not the mean of the examples";
  EXPECT_FALSE(metric_registry().at("chrf").is_mean());
}

TEST(Chrf, of_nothing_in_common_is_zero) {
  const NgramCounts counts = ngram_counts("abc", "xyz");
  EXPECT_EQ(value({counts.begin(), counts.end()}), 0);
  EXPECT_EQ(value(std::vector<float>(3 * kLongestNgram, 0)), 0);
}

}  // namespace
}  // namespace fusegrid::chrf_test
