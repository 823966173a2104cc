#include "report/bootstrap.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/philox.h"

namespace fusegrid {
namespace {

using Hits = std::vector<uint32_t>;  // [groups]: how often a model was right

// Outcomes of independent coin tosses.
Hits tosses(uint64_t stream, size_t count, double probability) {
  Hits hits;
  for (size_t e = 0; e < count; ++e) {
    hits.push_back(philox(99, stream, e)[0] * 0x1p-32 < probability ? 1 : 0);
  }
  return hits;
}

// Each example a group of its own.
std::vector<uint32_t> alone(size_t examples) {
  return std::vector<uint32_t>(examples, 1);
}

GroupSums sums_of_hits(const Hits& hits) {
  GroupSums sums;
  for (size_t g = 0; g < hits.size(); ++g) {
    if (hits[g] != 0) {
      sums.entries.push_back({static_cast<uint32_t>(g), 0, static_cast<double>(hits[g])});
    }
  }
  return sums;
}

// Accuracies of models whose hits are those of `replicates` replicates together.
PairedSums accuracies(const std::string& task, const std::vector<uint32_t>& sizes,
                      const std::vector<Hits>& models, int64_t replicates = 1) {
  PairedSums paired{task, sizes, mean_of_rows, replicates, {}, {{}}};
  for (const Hits& hits : models) {
    paired.sums.push_back({sums_of_hits(hits)});
  }
  return paired;
}

std::vector<double> all_of(const Resampled& values) {
  std::vector<double> defined;
  for (const auto& value : values) {
    defined.push_back(value.value());
  }
  return defined;
}

TEST(Bootstrap, of_a_model_that_is_always_right_is_constant) {
  const auto averages = bootstrap_scores(accuracies("a", alone(5), {{1, 1, 1, 1, 1}, {0, 0, 0, 0, 0}}), 50);
  EXPECT_THAT(averages[0], testing::Each(1.0));
  EXPECT_THAT(averages[1], testing::Each(0.0));
}

TEST(Bootstrap, draws_the_same_examples_for_all_models) {
  // the second model is right exactly where the first is wrong
  const auto hits = tosses(1, 101, 0.3);
  Hits complement;
  for (const uint32_t hit : hits) {
    complement.push_back(static_cast<uint32_t>(1 - hit));
  }
  const auto averages = bootstrap_scores(accuracies("a", alone(101), {hits, complement}), 200);
  for (size_t b = 0; b < 200; ++b) {
    ASSERT_NEAR(averages[0][b].value() + averages[1][b].value(), 1, 1e-12);
  }
  EXPECT_NE(averages[0][0], averages[0][1]);
}

TEST(Bootstrap, gives_the_same_bits_whatever_the_other_models_are) {
  const auto one = tosses(1, 50, 0.5);
  const auto two = tosses(2, 50, 0.7);
  const auto both = bootstrap_scores(accuracies("a", alone(50), {one, two}), 100);
  const auto swapped = bootstrap_scores(accuracies("a", alone(50), {two, one}), 100);
  const auto single = bootstrap_scores(accuracies("a", alone(50), {one}), 100);
  EXPECT_EQ(both[0], swapped[1]);
  EXPECT_EQ(both[1], swapped[0]);
  EXPECT_EQ(both[0], single[0]);
}

TEST(Bootstrap, draws_each_task_by_its_own_numbers) {
  const auto hits = tosses(1, 50, 0.5);
  EXPECT_NE(bootstrap_scores(accuracies("a", alone(50), {hits}), 100),
            bootstrap_scores(accuracies("b", alone(50), {hits}), 100));
}

TEST(Bootstrap, divides_by_the_replicates) {
  const auto scores = bootstrap_scores(accuracies("a", alone(3), {Hits(3, 1)}, 2), 10);
  EXPECT_THAT(scores[0], testing::Each(testing::Optional(testing::DoubleEq(0.5))));
}

// Mean of the squared distances from their mean.
double spread_of(const Resampled& values) {
  const std::vector<double> defined = all_of(values);
  const double mean =
      std::accumulate(defined.begin(), defined.end(), 0.0) / static_cast<double>(defined.size());
  double squares = 0;
  for (const double value : defined) {
    squares += (value - mean) * (value - mean);
  }
  return squares / static_cast<double>(defined.size());
}

TEST(Bootstrap, spreads_as_the_binomial_distribution) {
  // n tosses with p = 1/2: variance 0.25 / 400
  Hits hits(400, 0);
  std::fill(hits.begin(), hits.begin() + 200, uint32_t{1});
  EXPECT_NEAR(spread_of(bootstrap_scores(accuracies("a", alone(400), {hits}))[0]), 0.000625, 0.00005);
}

TEST(Bootstrap, weighs_a_group_by_its_examples) {
  // 8 of 8 right in one group, 0 of 2 in the other: 1, 0.8 or 0
  const auto averages = bootstrap_scores(accuracies("a", {8, 2}, {{8, 0}}), 200);
  for (const double average : all_of(averages[0])) {
    EXPECT_TRUE(average == 1 || average == 0.8 || average == 0) << average;
  }
  EXPECT_THAT(all_of(averages[0]),
              testing::AllOf(testing::Contains(1.0), testing::Contains(0.8), testing::Contains(0.0)));
}

TEST(Bootstrap, over_groups_spreads_as_groups_where_their_examples_are_alike) {
  const auto of_group = tosses(1, 40, 0.7);  // all 10 examples of a group are right or wrong
  Hits tens;
  Hits single;
  for (const uint32_t hit : of_group) {
    tens.push_back(10 * hit);
    single.insert(single.end(), 10, hit);
  }
  const double groups =
      spread_of(bootstrap_scores(accuracies("a", std::vector<uint32_t>(40, 10), {tens}))[0]);
  const double examples = spread_of(bootstrap_scores(accuracies("a", alone(400), {single}))[0]);
  EXPECT_NEAR(groups / examples, 10, 1);
}

// Whole numbers from beginning to end, of which there is one order of sums alone.
std::vector<double> integer_scores(const PairedSums& task, size_t model, int64_t resamples) {
  const uint64_t key = derive_key(0, "report/bootstrap/" + task.task);
  const uint64_t groups = task.sizes.size();
  Hits hits(groups, 0);
  for (const auto& entry : task.sums[model][0].entries) {
    hits[entry.group] = static_cast<uint32_t>(entry.value);
  }
  std::vector<double> scores;
  for (int64_t b = 0; b < resamples; ++b) {
    uint64_t right = 0;
    uint64_t examples = 0;
    for (uint64_t i = 0; i < groups; ++i) {
      const uint64_t word = philox(key, static_cast<uint64_t>(b), i / 4)[i % 4];
      right += hits[(word * groups) >> 32];
      examples += task.sizes[(word * groups) >> 32];
    }
    scores.push_back(static_cast<double>(right) /
                     (static_cast<double>(examples) * static_cast<double>(task.pooled)));
  }
  return scores;
}

TEST(Bootstrap, of_accuracies_gives_the_bits_of_whole_numbers) {
  for (const uint64_t groups : {1, 7, 61}) {
    std::vector<uint32_t> sizes;
    std::vector<Hits> models(4);
    for (uint64_t g = 0; g < groups; ++g) {
      sizes.push_back(1 + philox(5, groups, g)[0] % 9);
      for (size_t m = 0; m < models.size(); ++m) {
        models[m].push_back(philox(6 + m, groups, g)[0] % (3 * sizes.back() + 1));
      }
    }
    const PairedSums task = accuracies("task" + std::to_string(groups), sizes, models, 3);
    const auto scores = bootstrap_scores(task, 300);
    for (size_t m = 0; m < scores.size(); ++m) {
      const std::vector<double> expected = integer_scores(task, m, 300);
      for (size_t b = 0; b < expected.size(); ++b) {
        ASSERT_EQ(std::bit_cast<uint64_t>(scores[m][b].value()), std::bit_cast<uint64_t>(expected[b]))
            << groups << " " << m << " " << b;
      }
    }
  }
}

// The ratio of two columns: no mean of a number.
std::optional<double> ratio(std::span<const double> sums, double /*examples*/) {
  return sums[1] == 0 ? std::nullopt : std::optional(sums[0] / sums[1]);
}

GroupSums two_columns(const std::vector<std::pair<double, double>>& rows) {
  GroupSums sums{2, {}};
  for (uint32_t g = 0; g < rows.size(); ++g) {
    sums.entries.push_back({g, 0, rows[g].first});
    sums.entries.push_back({g, 1, rows[g].second});
  }
  return sums;
}

TEST(Bootstrap, finishes_each_replicate_and_then_averages) {
  // one group, so that every resample is the whole: 1/2 and 3/1, not (1 + 3) / (2 + 1)
  const PairedSums task{"a", {4}, ratio, 1, {{two_columns({{1, 2}}), two_columns({{3, 1}})}}, {{}, {}}};
  EXPECT_THAT(bootstrap_scores(task, 5)[0], testing::Each(testing::Optional(1.75)));
}

TEST(Bootstrap, counts_values_by_the_line_of_their_replicate) {
  const PairedSums task{
      "a", {4}, ratio, 1, {{two_columns({{1, 2}}), two_columns({{3, 1}})}}, {{2, -1}, {0, 0.5}}};
  EXPECT_THAT(bootstrap_scores(task, 5)[0], testing::Each(testing::Optional(1.5)));  // 2 - 1/2 and 3/2
}

TEST(Bootstrap, has_no_value_where_the_metric_has_none) {
  // undefined where neither of the two drawn groups is the second
  const PairedSums half{"a", {1, 1}, ratio, 1, {{two_columns({{1, 0}, {1, 2}})}}, {{}}};
  const Resampled values = bootstrap_scores(half, 400)[0];
  const auto undefined = std::count(values.begin(), values.end(), std::nullopt);
  EXPECT_NEAR(static_cast<double>(undefined), 100, 30);
  for (const auto& value : values) {
    EXPECT_TRUE(!value || *value == 0.5 || *value == 1) << *value;
  }
}

}  // namespace
}  // namespace fusegrid
