#include "worker/external_evaluator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/hf_folder.h"
#include "checkpoint/safetensors.h"
#include "core/digest.h"
#include "core/errors.h"
#include "worker/executor.h"
#include "worker/tiny_zoos.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

// What begins every script: the file that the request wants, and the folder of the model.
constexpr auto kPaths = R"sh(
out=$(sed -n 's/^  "out": "\(.*\)",*$/\1/p' "$1"); model=$(sed -n 's/^  "model": "\(.*\)",*$/\1/p' "$1")
)sh";
constexpr auto kAnswer =
    R"sh(echo '{"quiz": {"score": 0.5, "count": 2, "outcomes": {"score": [1, 0]}}}' >"$out")sh";

class ExternalEvaluatorTest : public TinyZoos {
 protected:
  ExternalEvaluatorTest()
      : zoos_({{"embedded-tiny", zoo_folder().string()}}, at::kCPU, {}, Precision::kFp32, {},
              {{"quiz", "rows"}}),
        maker_({}, at::kCPU) {}

  ExternalTask task(const std::string& script) const {
    return {.command = {.text = "sh -c ...",
                        .words = {"sh", "-c", kPaths + script, "sh", kRequestWord},
                        .timeout_s = 60},
            .metric = "score",
            .expert = "rows"};
  }
  ExternalEvaluator evaluator(const ExternalTask& task, int64_t validation = -1) const {
    return {{.tasks = {{"quiz", task}}, .folder = scratch(), .validation = validation}, at::kCPU};
  }
  ExternalEvaluator::Evaluation run(ExternalEvaluator& evaluator,
                                    const std::string& method = "simple_average") {
    const Cell cell = tiny_cell(method, "quiz");
    OpenZoo& zoo = zoos_.open(cell.zoo);
    return evaluator.evaluate(cell, maker_.of(cell, zoo, [] {}), zoo, [this] { ++ticks_; });
  }
  ExternalEvaluator::Evaluation run(const ExternalTask& task) {
    ExternalEvaluator one = evaluator(task);
    return run(one);
  }
  std::string error_of(const std::string& script, int64_t timeout_s = 60) {
    ExternalTask with = task(script);
    with.command.timeout_s = timeout_s;
    const std::string message = message_of<DataError>([&] { run(with); });
    EXPECT_TRUE(fs::is_empty(scratch())) << script;
    return message;
  }
  fs::path scratch() const { return copy() / "scratch"; }
  std::string kept(const std::string& name) const { return (copy() / name).string(); }

  ZooCache zoos_;
  MergeMaker maker_;
  int ticks_ = 0;
};

TEST_F(ExternalEvaluatorTest, takes_the_score_that_the_command_says) {
  {
    const auto evaluation = run(task(std::string("sleep 0.3; ") + kAnswer));
    ASSERT_EQ(evaluation.answers.size(), 1U) << "it has no validation examples";
    const Answers& answers = evaluation.answers.at("test");
    EXPECT_EQ(answers.metrics.at("score"), 0.5);
    EXPECT_EQ(answers.examples, 2);
    EXPECT_EQ(answers.outcomes.at(0).rows, (std::vector<float>{1, 0}));
    EXPECT_GT(ticks_, 8) << "it is alive all the while that the command runs";
    EXPECT_EQ(evaluation.facts.at("task command"), "sh -c ...");
    EXPECT_EQ(evaluation.facts.at("task answer test").size(), 64U);
    const Cell cell = tiny_cell("simple_average", "quiz");
    EXPECT_EQ(evaluation.facts.at("task read model"),
              maker_.of(cell, zoos_.open(cell.zoo), [] {}).facts.at("weights_sha256"));
  }
  EXPECT_TRUE(fs::is_empty(scratch()));
}

TEST_F(ExternalEvaluatorTest, tells_the_command_what_it_asks) {
  ExternalTask with = task("cp \"$1\" '" + kept("") +
                           "'seen-$(sed -n 's/^  \"split\": \"\\(.*\\)\",*$/\\1/p' \"$1\"); " + kAnswer);
  with.has_validation = true;
  with.limit = 9;
  ExternalEvaluator one = evaluator(with, 4);
  EXPECT_EQ(run(one).answers.size(), 2U);
  const auto seen = nlohmann::json::parse(read_text(copy() / "seen-test"));
  EXPECT_EQ(seen.at("version"), 1);
  EXPECT_EQ(seen.at("task"), "quiz");
  EXPECT_EQ(seen.at("metric"), "score");
  EXPECT_EQ(seen.at("limit"), 9);
  EXPECT_EQ(seen.at("zoo"), "embedded-tiny");
  EXPECT_EQ(seen.at("method"), "Simple Average");
  EXPECT_EQ(seen.at("experts"), (std::vector<std::string>{"bars", "rows"}));
  EXPECT_EQ(seen.at("seed"), 0);
  EXPECT_EQ(seen.at("threads"), 1);
  EXPECT_EQ(seen.at("cell"), tiny_cell("simple_average", "quiz").name());
  EXPECT_EQ(nlohmann::json::parse(read_text(copy() / "seen-val")).at("limit"), 4) << "the smaller one";
}

TEST_F(ExternalEvaluatorTest, writes_the_model_as_a_folder_with_the_heads_of_the_zoo) {
  const auto evaluation = run(task("cp -r \"$model\" '" + kept("seen") + "'; " + kAnswer));
  OpenZoo& zoo = zoos_.open("embedded-tiny");
  const Network& network = zoo.network(0);
  const Weights written = load_weights(*network.architecture, copy() / "seen", at::kCPU);
  EXPECT_EQ(digest(written), evaluation.facts.at("task read model"));
  const SafetensorsFile heads(copy() / "seen/heads.safetensors");
  EXPECT_TRUE(heads.contains("bars.rows") && heads.contains("rows.rows"));
  EXPECT_TRUE(fs::exists(copy() / "seen/preprocessor_config.json"));
}

TEST_F(ExternalEvaluatorTest, a_merge_that_is_held_in_bfloat16_is_written_so) {
  ZooCache zoos({{"embedded-tiny", zoo_folder().string()}}, at::kCPU, {}, Precision::kBf16);
  ExternalEvaluator one = evaluator(task("cp -r \"$model\" '" + kept("seen") + "'; " + kAnswer));
  const Cell cell = tiny_cell("simple_average", "quiz");
  OpenZoo& zoo = zoos.open(cell.zoo);
  one.evaluate(cell, maker_.of(cell, zoo, [] {}), zoo, [] {});
  const HfFolder seen(copy() / "seen");
  EXPECT_EQ(seen.tensors().front().dtype, at::kBFloat16);
}

TEST_F(ExternalEvaluatorTest, a_method_with_a_model_per_task_is_asked_about_the_owner) {
  ExternalEvaluator one = evaluator(task(kAnswer));
  EXPECT_EQ(run(one, "individual").facts.at("task read model"),
            zoos_.open("embedded-tiny").models(0, {"expert/rows"}).front()->digest);
}

TEST_F(ExternalEvaluatorTest, cells_of_one_merge_write_its_model_once) {
  ExternalTask quiz = task("ls -di \"$model\" >>'" + kept("inodes") + "'; " + kAnswer);
  quiz.has_validation = true;
  ExternalEvaluator one = evaluator(quiz);
  run(one);
  run(one);
  const std::string inodes = read_text(copy() / "inodes");
  const std::string line = inodes.substr(0, inodes.find('\n') + 1);
  EXPECT_EQ(inodes, line + line + line + line);
}

TEST_F(ExternalEvaluatorTest, a_command_that_fails_or_hangs_says_what_it_printed) {
  EXPECT_THAT(error_of("echo 'no such task' >&2; exit 3"),
              AllOf(HasSubstr("the command of [task:quiz] ended with exit code 3"),
                    HasSubstr("it printed: no such task")));
  EXPECT_THAT(error_of("echo loading; sleep 1000", 1),
              AllOf(HasSubstr("must end within timeout_s = 1 s"), HasSubstr("it printed: loading")));
}

TEST_F(ExternalEvaluatorTest, an_answer_that_is_none_is_refused) {
  const std::string must = "the command of [task:quiz] must write what the model scores to the file 'out'";
  EXPECT_THAT(error_of("true"), AllOf(HasSubstr(must), HasSubstr("it has written no file there")));
  EXPECT_THAT(error_of("mkdir \"$out\""), AllOf(HasSubstr(must), HasSubstr("it has written no file there")));
  EXPECT_THAT(error_of("echo '0.5' >\"$out\""), AllOf(HasSubstr(must), HasSubstr("must be an object")));
  EXPECT_THAT(error_of("echo '{\"quiz\": {\"score\": NaN, \"count\": 2}}' >\"$out\""),
              AllOf(HasSubstr(must), HasSubstr("no JSON")));
  EXPECT_THAT(error_of("echo '{\"quiz\": {\"acc\": 1, \"count\": 2}}' >\"$out\""),
              HasSubstr("but has 'acc'"));
}

TEST_F(ExternalEvaluatorTest, a_file_that_changed_since_the_run_began_ends_it) {
  write_text(copy() / "eval.py", "new");
  ExternalTask changed = task(kAnswer);
  changed.command.files = {{kept("eval.py"), "digest of the old one"}};
  EXPECT_THROW(run(changed), InputError);
}

}  // namespace
}  // namespace fusegrid
