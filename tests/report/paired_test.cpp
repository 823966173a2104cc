#include "report/paired.h"

#include <algorithm>
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "report/metric_fixture.h"

namespace fusegrid {
namespace {

using testing::Contains;
using testing::HasSubstr;

double toss(uint64_t stream, uint64_t element) {
  return philox(21, stream, element)[0] * 0x1p-32;
}

// Labels of three classes and answers that are right with this probability.
std::vector<int32_t> three_classes(size_t examples) {
  std::vector<int32_t> labels;
  for (uint64_t e = 0; e < examples; ++e) {
    labels.push_back(static_cast<int32_t>(3 * toss(1, e)));
  }
  return labels;
}
std::vector<int32_t> answers_to(const std::vector<int32_t>& labels, uint64_t stream, double probability) {
  std::vector<int32_t> answers;
  for (uint64_t e = 0; e < labels.size(); ++e) {
    answers.push_back(toss(stream, e) < probability ? labels[e] : (labels[e] + 1) % 3);
  }
  return answers;
}

// The spread of a metric of one task "bee_fly" whose examples are drawn one by one, from the drawn lists themselves.
Spread spread_by_hand(const std::string& metric, const std::vector<std::vector<int32_t>>& replicates,
                      const std::vector<int32_t>& labels) {
  const uint64_t key = derive_key(0, "report/bootstrap/bee_fly");
  const uint64_t examples = labels.size();
  const MetricRule& rule = metric_registry().at(metric);
  Spread spread{{{}}, {examples}, {}};
  for (uint64_t b = 0; b < 2000; ++b) {
    double sum = 0;
    for (const auto& answers : replicates) {
      std::vector<int32_t> drawn_answers;
      std::vector<int32_t> drawn_labels;
      for (uint64_t i = 0; i < examples; ++i) {
        const uint64_t at = (philox(key, b, i / 4)[i % 4] * examples) >> 32;
        drawn_answers.push_back(answers[at]);
        drawn_labels.push_back(labels[at]);
      }
      sum += value_of(rule, class_rows(drawn_answers, drawn_labels)).value();
    }
    spread.tasks[0].emplace_back(sum / static_cast<double>(replicates.size()));
  }
  for (const auto& answers : replicates) {
    spread.by_seed.push_back(value_of(rule, class_rows(answers, labels)).value());
  }
  return spread;
}

TEST(Intervals, of_class_metrics_are_those_of_the_drawn_examples) {
  const std::vector<int32_t> labels = three_classes(120);
  for (const std::string metric : {"mcc", "macro_f1"}) {
    Records records = records_of({{"bee_fly", metric}});
    put_labels(records, "bee_fly", labels);
    std::vector<std::vector<int32_t>> replicates;
    for (int64_t seed = 0; seed < 2; ++seed) {
      replicates.push_back(answers_to(labels, 2 + static_cast<uint64_t>(seed), 0.7));
      put_classes(records, make_cell("average", "", "bee_fly", seed), 0.5, replicates.back());
    }
    const Average average = row_of(make_boards(records).at(0), "average").average;
    const Interval expected =
        interval_of(average.value.value(), spread_by_hand(metric, replicates, labels)).value();
    const Interval interval = average.interval.value();
    EXPECT_NEAR(interval.low, expected.low, 1e-12) << metric;
    EXPECT_NEAR(interval.high, expected.high, 1e-12) << metric;
  }
}

TEST(Intervals, of_losses_are_those_of_a_mean) {
  Records records = records_of({{"cow", "loss"}});
  std::vector<float> losses;
  double variance = 0;
  for (uint64_t e = 0; e < 400; ++e) {
    losses.push_back(static_cast<float>(-std::log(toss(5, e))));  // mean 1, deviation 1
  }
  Result& result = put_numbers(records, make_cell("average", "", "cow"), 0.5, losses);
  const double mean = result.metrics[1].value;
  for (const float loss : losses) {
    variance += (loss - mean) * (loss - mean) / 400;
  }
  const Interval interval = row_of(make_boards(records).at(0), "average").average.interval.value();
  const double error = 1.96 * std::sqrt(variance / 400);
  EXPECT_NEAR(interval.low, mean - error, 0.015);
  EXPECT_NEAR(interval.high, mean + error, 0.015);
}

TEST(Intervals, of_relative_scores_leave_the_experts_own_scores_as_they_are) {
  const std::vector<int32_t> labels = three_classes(90);
  const auto answers = answers_to(labels, 2, 0.6);
  Records alone = records_of({{"bee_fly", "mcc"}});
  put_labels(alone, "bee_fly", labels);
  put_classes(alone, make_cell("average", "", "bee_fly"), 0.5, answers);
  const Interval mcc = row_of(make_boards(alone).at(0), "average").average.interval.value();

  Records mixed = records_of({{"bee_fly", "mcc"}, {"cow", "loss"}});
  put_labels(mixed, "bee_fly", labels);
  put_classes(mixed, make_cell("average", "", "bee_fly"), 0.5, answers);
  put_numbers(mixed, make_cell("average", "", "cow"), 0.5, {3, 3, 3});  // in every resample 3
  put_value(mixed, make_cell("individual", "", "bee_fly"), 0.5, 0.8);
  put_value(mixed, make_cell("individual", "", "cow"), 0.5, 2);
  const Board board = make_boards(mixed).at(0);
  const Interval relative = row_of(board, "average").average.interval.value();
  EXPECT_NEAR(relative.low, (mcc.low / 0.8 + 0.5) / 2, 1e-12);
  EXPECT_NEAR(relative.high, (mcc.high / 0.8 + 0.5) / 2, 1e-12);
  EXPECT_FALSE(row_of(board, "individual").average.interval) << "of values alone";
}

TEST(Intervals, need_rows_that_give_the_recorded_value) {
  Records records = records_of({{"cow", "loss"}});
  put_numbers(records, make_cell("average", "", "cow"), 0.5, {1, 2, 3}).metrics[1].value = 2.1;
  put_numbers(records, make_cell("fisher", "", "cow"), 0.5, {1, 2, std::nanf("")}).metrics[1].value = 2;
  put_numbers(records, make_cell("adapt", "", "cow"), 0.5, {1, 2, 3}).outcomes[0].width = 3;
  put_numbers(records, make_cell("masks", "", "cow"), 0.5, {1, 2, 3});
  const Board board = make_boards(records).at(0);
  for (const std::string method : {"average", "fisher", "adapt"}) {
    EXPECT_TRUE(row_of(board, method).average.value) << method;
    EXPECT_FALSE(row_of(board, method).average.interval) << method;
  }
  EXPECT_TRUE(row_of(board, "masks").average.interval);
  EXPECT_THAT(board.notes,
              Contains(HasSubstr("Fisher: no interval, because its recorded outcomes are missing, do "
                                 "not give its loss")));
}

TEST(Intervals, need_labels_where_the_metric_is_of_classes) {
  Records records = records_of({{"bee_fly", "mcc"}});
  put_labels(records, "bee_fly", {0, 0, 1, 1, 1});
  put_classes(records, make_cell("average", "", "bee_fly"), 0.5, {0, 0, 1, 1, 0});
  EXPECT_TRUE(row_of(make_boards(records).at(0), "average").average.interval);
  records.examples.clear();
  EXPECT_FALSE(row_of(make_boards(records).at(0), "average").average.interval);
}

TEST(Intervals, need_half_of_the_resamples_to_have_a_value) {
  // the one example of label 1 is among four drawn, and not alone, in 68 % of the resamples
  Records most = records_of({{"ant", "mcc"}});
  put_labels(most, "ant", {0, 0, 0, 1});
  put_classes(most, make_cell("average", "", "ant"), 0.5, {0, 1, 0, 1});
  EXPECT_TRUE(row_of(make_boards(most).at(0), "average").average.interval);

  // the first and the last of three, without which one of the lists is all alike, are both drawn in 44 %
  Records few = records_of({{"cow", "pearson"}});
  const std::vector<float> x_y_xx_yy_xy{0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0};
  put_numbers(few, make_cell("average", "", "cow"), 0.5, x_y_xx_yy_xy);
  const Board board = make_boards(few).at(0);
  EXPECT_TRUE(row_of(board, "average").average.value);
  EXPECT_FALSE(row_of(board, "average").average.interval);
  EXPECT_THAT(board.notes, Contains(HasSubstr("most resamples of the examples leave its pearson undefined")));
}

TEST(Intervals, are_not_made_of_metrics_that_the_program_does_not_know) {
  Records records = records_of({});
  records.tasks[{"toy", "ant"}] = {"toy", "ant", "depth", "depth_error", "lower", "metres", "Depth"};
  put_value(records, make_cell("average", "", "ant"), 0.5, 0.25);
  put_value(records, make_cell("fisher", "", "ant"), 0.5, 0.5);
  const Board board = make_boards(records).at(0);
  EXPECT_EQ(row_of(board, "average").rank, 1);
  EXPECT_FALSE(row_of(board, "average").average.interval);
  EXPECT_THAT(board.notes, testing::ElementsAre(HasSubstr("does not know the metric depth_error")));
}

TEST(Ties, are_of_relative_scores_where_tasks_have_different_metrics) {
  const Board board = make_boards(mixed_records()).at(0);
  EXPECT_TRUE(row_of(board, "scaled").average.best);
  EXPECT_TRUE(row_of(board, "average").average.interval);
  EXPECT_TRUE(row_of(board, "masks").average.best) << "the best of its own group";
}

}  // namespace
}  // namespace fusegrid
