#include "worker/recorder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fusegrid {
namespace {

using testing::HasSubstr;

// Three of four right.
Answers answers(bool finite = true) {
  return {.metrics = {{"accuracy", 0.75}, {"loss", 0.5}},
          .outcomes = {{"", "accuracy", 1, {1, 1, 1, 0}}},
          .predictions = {0, 1, 2, 0},
          .examples = 4,
          .finite = finite};
}

Result recorded(const std::string& cell, const Answers& val, const Answers& test,
                const std::map<std::string, double>& scores = {}) {
  Result result;
  record(Cell::parse(cell), {{"val", val}, {"test", test}}, scores, result);
  return result;
}

TEST(Recorder, writes_metrics_and_outcomes_of_both_splits) {
  const Result result = recorded("z/experts=1/m/seed=0/a@clean", answers(), answers());
  EXPECT_EQ(result.status, Status::kValid);
  ASSERT_EQ(result.metrics.size(), 4U);
  EXPECT_EQ(result.metrics[0].name + "/" + result.metrics[0].split, "accuracy/val");
  EXPECT_EQ(result.metrics[0].value, 0.75);
  EXPECT_EQ(result.metrics[3].name + "/" + result.metrics[3].split, "loss/test");
  EXPECT_EQ(result.metrics[3].count, 4);
  ASSERT_EQ(result.outcomes.size(), 2U);
  EXPECT_EQ(result.outcomes[0].metric, "accuracy");
  EXPECT_TRUE(result.outcomes[0].are_marks());
  EXPECT_EQ(result.outcomes[0].examples(), 4);
  ASSERT_EQ(result.predictions.size(), 2U);
  EXPECT_EQ(result.predictions[1].classes.size(), 4U);
}

TEST(Recorder, trusts_no_answer_that_is_not_finite) {
  const Result result = recorded("z/experts=1/m/seed=0/a@clean", answers(), answers(false));
  EXPECT_EQ(result.status, Status::kInvalid);
  EXPECT_EQ(result.reason, "the model's outputs on test are not finite");
  EXPECT_EQ(result.metrics.size(), 4U) << "what was measured is told all the same";
}

TEST(Recorder, trusts_no_expert_that_is_not_the_one_of_the_zoo) {
  const std::map<std::string, double> off{{"a/val/accuracy", 0.75}, {"a/test/accuracy", 0.77}};
  const std::map<std::string, double> near{
      {"a/val/accuracy", 0.75}, {"a/test/accuracy", 0.755}, {"b/test/accuracy", 0.1}, {"a/test/f1", 0.2}};
  const std::string expert = "z/experts=1/individual/seed=0/a@clean";
  EXPECT_THAT(recorded(expert, answers(), answers(), off).reason,
              HasSubstr("accuracy on test is 0.75, but zoo.json recorded 0.77"));
  EXPECT_EQ(recorded(expert, answers(), answers(), near).status, Status::kValid);
  EXPECT_EQ(recorded(expert, answers(), answers()).status, Status::kValid);
  EXPECT_EQ(recorded("z/experts=1/other/seed=0/a@clean", answers(), answers(), off).status, Status::kValid);
}

// The recorded score is of clean images; validation images are clean under any shift.
TEST(Recorder, under_a_shift_only_validation_tells_whether_it_is_the_expert) {
  const std::string shifted = "z/experts=1/individual/seed=0/a@noise-1";
  EXPECT_EQ(
      recorded(shifted, answers(), answers(), {{"a/val/accuracy", 0.75}, {"a/test/accuracy", 0.9}}).status,
      Status::kValid);
  EXPECT_EQ(
      recorded(shifted, answers(), answers(), {{"a/val/accuracy", 0.9}, {"a/test/accuracy", 0.75}}).status,
      Status::kInvalid);
}

TEST(Recorder, judges_an_expert_by_every_metric_that_was_recorded) {
  const std::string expert = "z/experts=1/individual/seed=0/a@clean";
  EXPECT_THAT(recorded(expert, answers(), answers(), {{"a/val/accuracy", 0.75}, {"a/val/loss", 0.9}}).reason,
              HasSubstr("loss on val is 0.5, but zoo.json recorded 0.9"));
}

// A number, not a class.
TEST(Recorder, records_no_predictions_of_tasks_without_classes) {
  Answers numbers;
  numbers.metrics = {{"pearson", 0.5}};
  numbers.outcomes = {{"", "pearson", 2, {1, 2, 3, 4}}};
  numbers.examples = 2;
  const Result result = recorded("z/experts=1/m/seed=0/a@clean", numbers, numbers);
  EXPECT_TRUE(result.predictions.empty());
  ASSERT_EQ(result.outcomes.size(), 2U);
  EXPECT_EQ(result.outcomes[1].split, "test");
  EXPECT_EQ(result.outcomes[1].examples(), 2);
  EXPECT_EQ(result.metrics[0].count, 2);
}

TEST(Recorder, records_the_splits_that_were_asked_for) {
  Result result;
  record(Cell::parse("z/experts=1/m/seed=0/a@clean"), {{"test", answers()}}, {}, result);
  ASSERT_EQ(result.metrics.size(), 2U);
  EXPECT_EQ(result.metrics[0].split, "test");
}

TEST(Recorder, gives_the_first_reason) {
  EXPECT_THAT(recorded("z/experts=1/m/seed=0/a@clean", answers(false), answers(false)).reason,
              HasSubstr("on val"));
}

}  // namespace
}  // namespace fusegrid
