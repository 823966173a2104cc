#include "tasks/external_task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

Answers answered(const std::string& json, const ExternalTask& task = {.metric = "score"}) {
  return read_external_answer(json, "gsm8k", task);
}

std::string error_of(const std::string& json, const ExternalTask& task = {.metric = "score"}) {
  return message_of<DataError>([&] { answered(json, task); });
}

TEST(ExternalAnswer, is_numbers_and_how_many_examples_they_are_of) {
  const Answers answers =
      answered(R"({"gsm8k": {"score": 0.5, "score_stderr": 0.2, "count": 4}, "other": {"count": "x"}})");
  EXPECT_EQ(answers.examples, 4);
  EXPECT_THAT(answers.metrics, ElementsAre(Pair("score", 0.5), Pair("score_stderr", 0.2)));
  EXPECT_TRUE(answers.outcomes.empty());
  EXPECT_TRUE(answers.finite);
}

TEST(ExternalAnswer, may_say_the_outcome_of_each_example) {
  const Answers answers =
      answered(R"({"gsm8k": {"score": 0.625, "count": 4, "outcomes": {"score": [1, true, false, 0.5]}}})");
  ASSERT_EQ(answers.outcomes.size(), 1U);
  EXPECT_EQ(answers.outcomes[0].metric, "score");
  EXPECT_EQ(answers.outcomes[0].width, 1);
  EXPECT_THAT(answers.outcomes[0].rows, ElementsAre(1, 1, 0, 0.5));
}

TEST(ExternalAnswer, outcomes_of_a_known_metric_are_its_rows) {
  const ExternalTask task{.metric = "perplexity", .better = Better::kLower, .unit = Unit::kNone};
  const Answers answers = answered(
      R"({"gsm8k": {"perplexity": 2.718281828459045, "count": 2, "outcomes": {"perplexity": [[2, 1], [1, 2]]}}})",
      task);
  EXPECT_EQ(answers.outcomes.at(0).width, 2);
  EXPECT_THAT(error_of(R"({"gsm8k": {"perplexity": 3, "count": 1, "outcomes": {"perplexity": [1]}}})", task),
              HasSubstr("'outcomes' of 'perplexity', example 0, must be an array of 2 numbers, but it is 1"));
  EXPECT_THAT(error_of(R"({"gsm8k": {"score": 0, "mcc": 0, "count": 1, "outcomes": {"mcc": [1]}}})"),
              HasSubstr("'mcc' is computed from classes"));
}

TEST(ExternalAnswer, must_be_json_of_the_task) {
  EXPECT_THAT(error_of("score: 0.5"), HasSubstr("it is no JSON"));
  EXPECT_THAT(error_of(R"({"gsm8k": {"score": NaN, "count": 4}})"),
              HasSubstr("it is no JSON, which has neither NaN nor Infinity: parse error at line 1"));
  EXPECT_THAT(error_of("[1]"), HasSubstr("must be an object with a member 'gsm8k', but it is array"));
  EXPECT_THAT(error_of(R"({"gsm": {}})"), HasSubstr("a member 'gsm8k', but it has none"));
  EXPECT_THAT(error_of(R"({"gsm8k": 0.5})"), HasSubstr("with a member 'count', but it is number"));
}

TEST(ExternalAnswer, must_have_the_metric_of_the_job) {
  EXPECT_THAT(error_of(R"({"gsm8k": {"acc": 0.5, "acc_norm": 0.25, "count": 4}})"),
              AllOf(HasSubstr("must have the metric of the task, 'score', but has 'acc', 'acc_norm'"),
                    HasSubstr("correct the command, or 'metric' in the job")));
  EXPECT_THAT(error_of(R"({"gsm8k": {"count": 4}})"), HasSubstr("but has none"));
  EXPECT_THAT(error_of(R"({"gsm8k": {"score": null, "count": 4}})"),
              HasSubstr("'score' must be a finite number, but it is null"));
  EXPECT_THAT(error_of(R"({"gsm8k": {"score": "0.5", "count": 4}})"), HasSubstr("but it is \"0.5\""));
  EXPECT_THAT(error_of(R"({"gsm8k": {"score": 0.5, "": 1, "count": 4}})"), HasSubstr("the name of a metric"));
}

TEST(ExternalAnswer, a_fraction_is_no_percentage) {
  EXPECT_THAT(error_of(R"({"gsm8k": {"score": 42.5, "count": 4}})"),
              AllOf(HasSubstr("'score' must lie in [0, 1]"), HasSubstr("it is 42.5"),
                    HasSubstr("divide by 100, or write 'unit = none'")));
  EXPECT_EQ(answered(R"({"gsm8k": {"score": 42.5, "count": 4}})", {.metric = "score", .unit = Unit::kNone})
                .metrics.at("score"),
            42.5);
}

TEST(ExternalAnswer, a_count_is_a_whole_number) {
  for (const std::string count : {"0", "-1", "2.5", "\"4\"", "1e99", "true"}) {
    EXPECT_THAT(error_of(R"({"gsm8k": {"score": 0.5, "count": )" + count + "}}"),
                HasSubstr("'count' must be the number of examples, at least 1, but it is"))
        << count;
  }
  EXPECT_THAT(error_of(R"({"gsm8k": {"score": 0.5}})"), HasSubstr("a member 'count', but it has none"));
}

TEST(ExternalAnswer, outcomes_must_give_the_metric) {
  const auto with = [](const std::string& outcomes) {
    return error_of(R"({"gsm8k": {"score": 0.5, "count": 2, "outcomes": )" + outcomes + "}}");
  };
  EXPECT_THAT(with(R"({"score": [1, 1]})"), HasSubstr("must give the metric, 0.5, but they give 1"));
  EXPECT_THAT(with(R"({"score": [1]})"), HasSubstr("for each of the 2 examples, but it has 1"));
  EXPECT_THAT(with(R"({"score": 1})"), HasSubstr("for each of the 2 examples, but it is number"));
  EXPECT_THAT(with("[1, 0]"), HasSubstr("'outcomes' must be an object"));
  EXPECT_THAT(with(R"({"scores": [1, 0]})"), HasSubstr("there is no number 'scores'"));
  EXPECT_THAT(with(R"({"score": [1, null]})"),
              HasSubstr("example 1, must be a finite number, but it is null"));
}

TEST(ExternalTask, survives_json) {
  const ExternalTask task{.command = {.text = "c", .words = {"c", "{request}"}},
                          .metric = "score",
                          .better = Better::kLower,
                          .unit = Unit::kNats,
                          .expert = "math",
                          .has_validation = true,
                          .limit = 7};
  const ExternalTask read = nlohmann::json(task);
  EXPECT_EQ(nlohmann::json(read), nlohmann::json(task));
  EXPECT_EQ(read.limit, 7);
  EXPECT_EQ(read.unit, Unit::kNats);
}

}  // namespace
}  // namespace fusegrid
