#include "report/bootstrap.h"

#include <algorithm>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/philox.h"

namespace fusegrid {
namespace {

// Outcomes of independent coin tosses.
std::vector<uint32_t> tosses(uint64_t stream, size_t count, double probability) {
  std::vector<uint32_t> hits;
  for (size_t e = 0; e < count; ++e) {
    hits.push_back(philox(99, stream, e)[0] * 0x1p-32 < probability ? 1 : 0);
  }
  return hits;
}

// Each example a group of its own.
std::vector<uint32_t> alone(size_t examples) {
  return std::vector<uint32_t>(examples, 1);
}

TEST(PercentileInterval, interpolates_between_order_statistics) {
  std::vector<double> values;
  for (int i = 40; i >= 0; --i) {
    values.push_back(i);  // 0 .. 40: the quantile q is 40 q
  }
  const Interval interval = percentile_interval(values);
  EXPECT_DOUBLE_EQ(interval.low, 1);
  EXPECT_DOUBLE_EQ(interval.high, 39);
  EXPECT_DOUBLE_EQ(percentile_interval({0, 1}).low, 0.025);
}

TEST(Bootstrap, of_a_model_that_is_always_right_is_constant) {
  const auto averages = bootstrap_averages({{"a", alone(5), {{1, 1, 1, 1, 1}, {0, 0, 0, 0, 0}}}}, 1, 50);
  EXPECT_THAT(averages[0], testing::Each(1.0));
  EXPECT_THAT(averages[1], testing::Each(0.0));
}

TEST(Bootstrap, draws_the_same_examples_for_all_models) {
  // the second model is right exactly where the first is wrong
  const auto hits = tosses(1, 101, 0.3);
  std::vector<uint32_t> complement;
  for (const uint32_t hit : hits) {
    complement.push_back(static_cast<uint32_t>(1 - hit));
  }
  const auto averages = bootstrap_averages({{"a", alone(101), {hits, complement}}}, 1, 200);
  for (size_t b = 0; b < 200; ++b) {
    ASSERT_NEAR(averages[0][b] + averages[1][b], 1, 1e-12);
  }
  EXPECT_LT(percentile_interval(averages[0]).low, percentile_interval(averages[0]).high);
}

TEST(Bootstrap, gives_the_same_bits_whatever_the_other_models_are) {
  const auto one = tosses(1, 50, 0.5);
  const auto two = tosses(2, 50, 0.7);
  const auto both = bootstrap_averages({{"a", alone(50), {one, two}}}, 1, 100);
  const auto swapped = bootstrap_averages({{"a", alone(50), {two, one}}}, 1, 100);
  const auto single = bootstrap_averages({{"a", alone(50), {one}}}, 1, 100);
  EXPECT_EQ(both[0], swapped[1]);
  EXPECT_EQ(both[1], swapped[0]);
  EXPECT_EQ(both[0], single[0]);
}

TEST(Bootstrap, draws_each_task_by_its_own_numbers) {
  const auto hits = tosses(1, 50, 0.5);
  EXPECT_NE(bootstrap_averages({{"a", alone(50), {hits}}}, 1, 100),
            bootstrap_averages({{"b", alone(50), {hits}}}, 1, 100));
}

TEST(Bootstrap, weighs_tasks_alike_and_divides_by_the_replicates) {
  // 2 of 2 replicates right everywhere on the large task, 1 of 2 on the small one
  const auto averages = bootstrap_averages({{"large", alone(9), {std::vector<uint32_t>(9, 2)}},
                                            {"small", alone(3), {std::vector<uint32_t>(3, 1)}}},
                                           2, 10);
  EXPECT_THAT(averages[0], testing::Each(testing::DoubleEq(0.75)));
}

TEST(Bootstrap, spreads_as_the_binomial_distribution) {
  // n tosses with p = 1/2: standard error sqrt(0.25 / 400) = 0.025, interval +-1.96 of it
  std::vector<uint32_t> hits(400, 0);
  std::fill(hits.begin(), hits.begin() + 200, uint32_t{1});
  const Interval interval = percentile_interval(bootstrap_averages({{"a", alone(400), {hits}}}, 1)[0]);
  EXPECT_NEAR(interval.low, 0.451, 0.006);
  EXPECT_NEAR(interval.high, 0.549, 0.006);
}

TEST(Bootstrap, covers_the_truth_in_nineteen_of_twenty_experiments) {
  int covered = 0;
  for (uint64_t experiment = 0; experiment < 300; ++experiment) {
    const auto averages = bootstrap_averages({{"a", alone(150), {tosses(experiment, 150, 0.7)}}}, 1, 400);
    const Interval interval = percentile_interval(averages[0]);
    covered += interval.low <= 0.7 && 0.7 <= interval.high ? 1 : 0;
  }
  // 285 expected; the standard deviation is 3.8, and percentile intervals are a little short
  EXPECT_GE(covered, 268);
  EXPECT_LE(covered, 298);
}

TEST(Bootstrap, weighs_a_group_by_its_examples) {
  // 8 of 8 right in one group, 0 of 2 in the other: 1, 0.8 or 0
  const auto averages = bootstrap_averages({{"a", {8, 2}, {{8, 0}}}}, 1, 200);
  for (const double average : averages[0]) {
    EXPECT_TRUE(average == 1 || average == 0.8 || average == 0) << average;
  }
  EXPECT_THAT(averages[0],
              testing::AllOf(testing::Contains(1.0), testing::Contains(0.8), testing::Contains(0.0)));
}

TEST(Bootstrap, over_groups_covers_the_truth_where_examples_of_a_group_are_alike) {
  int by_groups = 0;
  int by_examples = 0;
  for (uint64_t experiment = 0; experiment < 200; ++experiment) {
    const auto of_group = tosses(experiment, 40, 0.7);  // all 10 examples of a group are right or wrong
    std::vector<uint32_t> tens;
    std::vector<uint32_t> single;
    for (const uint32_t hit : of_group) {
      tens.push_back(10 * hit);
      single.insert(single.end(), 10, hit);
    }
    const auto covers = [](const std::vector<std::vector<double>>& averages) {
      const Interval interval = percentile_interval(averages[0]);
      return interval.low <= 0.7 && 0.7 <= interval.high ? 1 : 0;
    };
    by_groups += covers(bootstrap_averages({{"a", std::vector<uint32_t>(40, 10), {tens}}}, 1, 400));
    by_examples += covers(bootstrap_averages({{"a", alone(400), {single}}}, 1, 400));
  }
  EXPECT_GE(by_groups, 180);  // 190 expected
  EXPECT_LE(by_examples, 120) << "the test would not notice examples drawn one by one";
}

TEST(Bootstrap, of_no_model_is_empty) {
  EXPECT_TRUE(bootstrap_averages({{"a", {}, {}}}, 1).empty());
}

}  // namespace
}  // namespace fusegrid
