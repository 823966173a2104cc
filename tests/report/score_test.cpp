#include "report/score.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "report/board_fixture.h"

namespace fusegrid {
namespace {

TEST(RelativeScore, of_accuracies_is_their_ratio) {
  EXPECT_EQ(relative_score(Better::kHigher, 0.6, 0.8), 0.6 / 0.8);
}

TEST(RelativeScore, counts_what_is_better_up_on_either_side) {
  EXPECT_DOUBLE_EQ(relative_score(Better::kLower, 3, 2), 0.5);  // half of the expert's loss worse
  EXPECT_DOUBLE_EQ(relative_score(Better::kLower, 1, 2), 1.5);  // half of it better
  EXPECT_DOUBLE_EQ(relative_score(Better::kHigher, -0.3, -0.2), 0.5);
  EXPECT_DOUBLE_EQ(relative_score(Better::kHigher, 0.1, -0.2), 2.5);
  EXPECT_DOUBLE_EQ(relative_score(Better::kLower, -3, -2), 1.5);
}

TEST(RelativeScore, of_the_expert_itself_is_one) {
  for (const double own : {0.3, -0.7, 12.0}) {
    EXPECT_EQ(relative_score(Better::kHigher, own, own), 1);
    EXPECT_EQ(relative_score(Better::kLower, own, own), 1);
  }
}

TEST(PrimaryMetric, is_what_the_results_say_with_the_rule_of_the_program) {
  Records records = toy_records({});
  records.tasks[{"toy", "ant"}] = toy_task("ant", "mcc");
  const TaskMetric mcc = primary_metric(records, "toy", "ant");
  EXPECT_EQ(mcc.name, "mcc");
  EXPECT_EQ(mcc.title, "MCC");
  EXPECT_EQ(mcc.better, Better::kHigher);
  EXPECT_EQ(mcc.unit, "none");
  EXPECT_EQ(mcc.rule.get(), &metric_registry().at("mcc"));
}

TEST(PrimaryMetric, of_another_program_has_no_rule) {
  Records records = toy_records({});
  records.tasks[{"toy", "ant"}] = {"toy", "ant", "depth", "depth_error", "lower", "metres", "Depth"};
  const TaskMetric depth = primary_metric(records, "toy", "ant");
  EXPECT_EQ(depth.title, "depth_error");
  EXPECT_EQ(depth.better, Better::kLower);
  EXPECT_EQ(depth.unit, "metres");
  EXPECT_EQ(depth.rule, nullptr);
}

TEST(PrimaryMetric, that_a_command_alone_knows_is_the_mean_over_examples) {
  Records records = toy_records({});
  records.tasks[{"toy", "ant"}] = {"toy", "ant", kExternalKind, "exact_match", "lower", "fraction", "ant"};
  const TaskMetric metric = primary_metric(records, "toy", "ant");
  ASSERT_NE(metric.rule, nullptr);
  EXPECT_TRUE(metric.rule->is_mean());
  EXPECT_EQ(value_of(*metric.rule, number_rows(1, std::vector<float>{1, 0, 0, 0})), 0.25);
  EXPECT_EQ(metric.better, Better::kLower);
  EXPECT_EQ(metric.unit, "fraction");
}

TEST(PrimaryMetric, must_be_described) {
  EXPECT_THROW(primary_metric(toy_records({}), "toy", "cow"), DataError);
}

TEST(ScoreOf, tasks_with_one_metric_is_that_metric) {
  Records records = toy_records({});
  for (const std::string task : {"ant", "bee"}) {
    records.tasks[{"toy", task}] = toy_task(task, "loss");
  }
  const Score score =
      score_of({primary_metric(records, "toy", "ant"), primary_metric(records, "toy", "bee")});
  EXPECT_EQ(score, (Score{"loss", "Cross-entropy", Better::kLower, "nats", false}));
}

TEST(ScoreOf, tasks_with_different_metrics_is_relative) {
  Records records = toy_records({});
  records.tasks[{"toy", "bee"}] = toy_task("bee", "loss");
  const Score score =
      score_of({primary_metric(records, "toy", "ant"), primary_metric(records, "toy", "bee")});
  EXPECT_TRUE(score.relative);
  EXPECT_EQ(score.better, Better::kHigher);
  EXPECT_EQ(score.unit, "fraction");
}

}  // namespace
}  // namespace fusegrid
