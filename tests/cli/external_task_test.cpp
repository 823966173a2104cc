// Tasks that commands answer, through the whole program.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/safetensors.h"
#include "cli/invoke.h"
#include "store/result_store.h"
#include "zoo/support.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

namespace fs = std::filesystem;

// Answers for each model alike, and notes that it was asked.
constexpr auto kScript = R"sh(
out=$(sed -n 's/^  "out": "\(.*\)",*$/\1/p' "$1"); cell=$(sed -n 's/^  "cell": "\(.*\)",*$/\1/p' "$1")
split=$(sed -n 's/^  "split": "\(.*\)",*$/\1/p' "$1"); task=$(sed -n 's/^  "task": "\(.*\)",*$/\1/p' "$1")
echo "$cell $split" >>"$(dirname "$0")/asked"
)sh";
constexpr auto kAnswer =
    R"sh(echo "{\"$task\": {\"accuracy\": 0.75, \"count\": 4, \"outcomes\": {\"accuracy\": [1, 0, 1, 1]}}}" >"$out")sh";

class ExternalTaskRun : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    at::set_num_threads(1);  // as an executor does
    world_ = new TemporaryFolder;
    zoo_ = new Zoo(test::make_tiny_zoo(test::tiny_plan(world_->path())));
  }
  static void TearDownTestSuite() {
    delete zoo_;
    delete world_;
  }

  ExternalTaskRun() { write_script(kAnswer); }

  void write_script(const std::string& answer) const {
    write_text(folder_ / "eval.sh", kScript + answer + "\n");
  }
  std::string task(const std::string& more = "", const std::string& name = "quiz") const {
    return "[task:" + name + "]\ncommand = sh '" + (folder_ / "eval.sh").string() +
           "' {request}\nmetric = accuracy\n" + more;
  }
  Ran run(const std::string& sections, const std::vector<std::string>& more = {},
          const std::string& zoo = zoo_->folder.string()) const {
    write_text(folder_ / "job.cfg", "zoo = " + zoo + "\ndevice = cpu\n" + sections);
    std::vector<std::string> words{
        "run", (folder_ / "job.cfg").string(), "--results", results_.string(), "--inline", "--quiet"};
    words.insert(words.end(), more.begin(), more.end());
    return invoke(words);
  }
  // Lines that the script has written, so often was it asked.
  int64_t asked() const {
    const std::string lines = fs::exists(folder_ / "asked") ? read_text(folder_ / "asked") : "";
    return std::count(lines.begin(), lines.end(), '\n');
  }
  Result result(const std::string& method, const std::string& task = "quiz",
                const std::string& zoo = "embedded-tiny") const {
    const auto results = read_results_h5(results_ / "results.h5").results;
    return results.at(zoo + "/experts=2/" + method + "/seed=0/" + task + "@clean");
  }
  // Of the mean of the zoo's experts, as the same models of a known family have it.
  std::string average_digest() const {
    const fs::path results = folder_ / "known";
    write_text(folder_ / "known.cfg",
               "zoo = " + zoo_->folder.string() + "\ndevice = cpu\ntask = bars\n[simple_average]\n");
    invoke({"run", (folder_ / "known.cfg").string(), "--results", results.string(), "--inline", "--quiet"});
    return read_results_h5(results / "results.h5").results.begin()->second.facts.at("weights_sha256");
  }
  std::string board() const { return read_text(results_ / "leaderboard.md"); }

  static inline TemporaryFolder* world_ = nullptr;
  static inline Zoo* zoo_ = nullptr;
  TemporaryFolder folder_;
  fs::path results_ = folder_ / "results";
};

TEST_F(ExternalTaskRun, stand_beside_those_of_the_zoo) {
  const Ran ran = run("[individual]\n[simple_average]\n" + task("expert = rows\n"));
  ASSERT_EQ(ran.code, ExitCode::kOk) << ran.err;
  EXPECT_NO_THROW(verify_results(results_));
  EXPECT_FALSE(fs::exists(results_ / "external"));
  const Result quiz = result("simple_average");
  EXPECT_EQ(quiz.metrics.at(0).name, "accuracy");
  EXPECT_EQ(quiz.metrics.at(0).value, 0.75);
  EXPECT_EQ(quiz.metrics.at(0).count, 4);
  EXPECT_EQ(quiz.outcomes.at(0).rows.size(), 4U);
  EXPECT_EQ(quiz.bindings.count("task file " + (folder_ / "eval.sh").string()), 1U);
  EXPECT_EQ(quiz.facts.count("task answer test"), 1U);
  EXPECT_EQ(result("simple_average", "bars").bindings.size(), 1U) << "no binding of others";
  EXPECT_EQ(result("individual").metrics.at(0).value, 0.75);
  EXPECT_THAT(board(), AllOf(HasSubstr("| quiz |"), HasSubstr("| Simple Average "), HasSubstr("75.0"),
                             HasSubstr("Of quiz they are not recorded"), Not(HasSubstr("No intervals"))));
  EXPECT_EQ(asked(), 2);
}

TEST_F(ExternalTaskRun, without_an_expert_are_unseen) {
  ASSERT_EQ(run("[individual]\n[simple_average]\n" + task()).code, ExitCode::kOk);
  EXPECT_THAT(board(), AllOf(HasSubstr("Unseen tasks, which no merged expert owns: quiz."),
                             Not(HasSubstr("Incomplete"))));
  EXPECT_EQ(asked(), 1) << "a model per task has none for it";
}

TEST_F(ExternalTaskRun, are_asked_once_whatever_happens_to_others) {
  const std::string sections = "task = quiz\n[simple_average]\n" + task("expert = rows\n");
  ASSERT_EQ(run(sections).code, ExitCode::kOk);
  EXPECT_EQ(run(sections).code, ExitCode::kOk);
  EXPECT_EQ(asked(), 1) << "it is recorded";
  EXPECT_EQ(run(sections + "[pretrained]\n").code, ExitCode::kOk);
  EXPECT_EQ(asked(), 2) << "of the new one alone";
}

TEST_F(ExternalTaskRun, that_changed_make_their_cells_stale_and_no_others) {
  const std::string sections = "[simple_average]\n" + task("expert = rows\n");
  ASSERT_EQ(run(sections).code, ExitCode::kOk);
  write_script(std::string(kAnswer) + " # better");
  const Ran stale = run(sections);
  EXPECT_EQ(stale.code, ExitCode::kConfig);
  EXPECT_THAT(stale.err, AllOf(HasSubstr("1 of 3 cells are stale"), HasSubstr("/quiz@clean: task file ")));
  EXPECT_EQ(run(sections, {"--forget", "quiz@"}).code, ExitCode::kOk);
  EXPECT_EQ(asked(), 2);
}

TEST_F(ExternalTaskRun, that_fail_cost_their_cells_alone) {
  write_script("echo 'out of memory'; exit 3");
  const std::string sections = "max_attempts = 2\n[simple_average]\n" + task("expert = rows\n");
  const Ran failed = run(sections);
  EXPECT_EQ(failed.code, ExitCode::kCellsFailed);
  EXPECT_THAT(failed.err, HasSubstr("ended with exit code 3; it printed: out of memory"));
  EXPECT_EQ(result("simple_average").attempts, 2);
  EXPECT_EQ(result("simple_average", "bars").status, Status::kValid);
  EXPECT_THAT(board(), HasSubstr("Incomplete"));
  write_script(kAnswer);
  EXPECT_EQ(run(sections).code, ExitCode::kOk) << "another command: it runs again by itself";
}

TEST_F(ExternalTaskRun, with_another_number_of_examples_are_invalid) {
  write_script(
      R"sh(n=$(wc -l <"$(dirname "$0")/asked"); echo "{\"$task\": {\"accuracy\": 0.5, \"count\": $n}}" >"$out")sh");
  const Ran ran = run("task = quiz\n[pretrained]\n[simple_average]\n" + task("expert = rows\n"));
  EXPECT_EQ(ran.code, ExitCode::kCellsFailed);
  EXPECT_THAT(ran.err, HasSubstr("answered about 2 examples of test, but about 1 for cell"));
}

TEST_F(ExternalTaskRun, without_outcomes_have_no_intervals_and_say_so) {
  write_script(R"sh(echo "{\"$task\": {\"accuracy\": 0.5, \"count\": 9}}" >"$out")sh");
  ASSERT_EQ(run("[simple_average]\n[pretrained]\n" + task("expert = rows\n")).code, ExitCode::kOk);
  EXPECT_THAT(board(),
              HasSubstr("No intervals, because no outcomes of single examples are recorded of quiz."));
}

TEST_F(ExternalTaskRun, with_validation_choose_parameters) {
  write_script(R"sh(value=0.25; case $split,$cell in val,*scale=0.5*) value=0.75;; esac
echo "{\"$task\": {\"accuracy\": $value, \"count\": 4}}" >"$out")sh");
  const std::string sweep = "task = quiz\n[task_arithmetic]\nscale = 0.25 0.5\n";
  const Ran refused = run(sweep + task("expert = rows\n"));
  EXPECT_EQ(refused.code, ExitCode::kConfig);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("job.cfg:6: "), HasSubstr("'validation = yes'")));
  EXPECT_EQ(asked(), 0) << "before anything runs";
  ASSERT_EQ(run("test = chosen\n" + sweep + task("expert = rows\nvalidation = yes\n")).code, ExitCode::kOk);
  EXPECT_THAT(board(), HasSubstr("scale=0.5"));
  EXPECT_EQ(asked(), 4) << "two settings on val, the chosen one on val and test";
}

TEST_F(ExternalTaskRun, are_all_there_is_for_a_zoo_without_a_task_pack) {
  const std::string folder = (folder_ / "lab").string();
  const fs::path models = zoo_->folder / "seed-0";
  const Ran imported =
      invoke({"zoo", "import", folder, "--scale", "tiny", "--base", (models / "base").string(), "--expert",
              "math=" + (models / "experts/bars").string(), "--expert",
              "code=" + (models / "experts/rows").string()});
  ASSERT_EQ(imported.code, ExitCode::kOk) << imported.err;
  EXPECT_THAT(imported.out, AllOf(HasSubstr("those of jobs"), Not(HasSubstr("task pack"))));
  EXPECT_EQ(invoke({"zoo", "verify", folder}).code, ExitCode::kOk);
  const std::string sections = "[individual]\n[simple_average]\n[task_arithmetic]\nscale = 0.3\n" +
                               task("expert = math\n") + task("expert = code\n", "quiz2");
  const Ran ran = run(sections, {}, folder);
  ASSERT_EQ(ran.code, ExitCode::kOk) << ran.err;
  EXPECT_EQ(asked(), 6);
  EXPECT_THAT(board(), AllOf(HasSubstr("| quiz |"), HasSubstr("| quiz2 |"), HasSubstr("| Individual ")));
  EXPECT_EQ(run(sections, {"--dry-run"}, folder).code, ExitCode::kOk);
  const Ran refused = run("[fisher]\n" + task(), {}, folder);
  EXPECT_EQ(refused.code, ExitCode::kConfig);
  EXPECT_THAT(refused.err, HasSubstr("needs training examples of each expert"));
  EXPECT_THAT(run("[simple_average]\n", {}, folder).err, HasSubstr("add a section [task:NAME]"));
}

TEST_F(ExternalTaskRun, may_be_about_models_of_a_family_that_nobody_here_knows) {
  std::vector<std::string> import{"zoo", "import", (folder_ / "lab").string(), "--scale", "tiny"};
  for (const std::string name : {"base", "experts/bars", "experts/rows"}) {
    const fs::path folder = folder_ / fs::path(name).filename();
    fs::copy(zoo_->folder / "seed-0" / name, folder);
    auto config = nlohmann::json::parse(read_text(folder / "config.json"));
    config["model_type"] = "gemma9";
    write_text(folder / "config.json", config.dump());
    const std::string option = name == "base" ? "--base" : "--expert";
    import.insert(import.end(),
                  {option, (name == "base" ? "" : folder.filename().string() + "=") + folder.string()});
  }
  const Ran imported = invoke(import);
  ASSERT_EQ(imported.code, ExitCode::kOk) << imported.err;
  const std::string zoo = (folder_ / "lab").string();
  write_script(
      "cp \"$(sed -n 's/^  \"model\": \"\\(.*\\)\",*$/\\1/p' \"$1\")/config.json\" \"$(dirname \"$0\")\"; " +
      std::string(kAnswer));
  const Ran ran = run("[individual]\n[simple_average]\n[ties]\n[tsv_m]\n" + task("expert = rows\n"), {}, zoo);
  ASSERT_EQ(ran.code, ExitCode::kOk) << ran.err;
  EXPECT_EQ(nlohmann::json::parse(read_text(folder_ / "config.json")).at("model_type"), "gemma9");
  EXPECT_EQ(result("simple_average", "quiz", "lab").facts.at("weights_sha256"), average_digest());
  const Ran refused = run("[wemoe]\n" + task("expert = rows\n"), {}, zoo);
  EXPECT_EQ(refused.code, ExitCode::kConfig);
}

TEST_F(ExternalTaskRun, models_behind_them_can_be_exported) {
  ASSERT_EQ(run("[individual]\n[simple_average]\n" + task("expert = rows\n")).code, ExitCode::kOk);
  const auto exported = [&](const std::string& name) {
    const fs::path out = folder_ / "merged";
    fs::remove_all(out);
    const Ran ran =
        invoke({"export", results_.string(), "embedded-tiny/experts=2/" + name, "--out", out.string()});
    EXPECT_EQ(ran.code, ExitCode::kOk) << ran.err;
    return out;
  };
  EXPECT_TRUE(fs::exists(exported("simple_average/seed=0/quiz@clean") / "model.safetensors"));
  const SafetensorsFile heads(exported("simple_average/seed=0") / "heads.safetensors");
  EXPECT_TRUE(heads.contains("bars.rows") && heads.contains("rows.rows"));
  const fs::path each = exported("individual/seed=0");
  EXPECT_EQ(read_text(each / "quiz/model.safetensors"), read_text(each / "rows/model.safetensors"));
}

TEST_F(ExternalTaskRun, a_merge_job_has_none) {
  write_text(folder_ / "merge.cfg", "base = b\nexpert = e\nout = o\n" + task());
  const Ran ran = invoke({"merge", "--job", (folder_ / "merge.cfg").string()});
  EXPECT_EQ(ran.code, ExitCode::kConfig);
  EXPECT_THAT(ran.err, HasSubstr("[task:quiz] is a task of a grid"));
}

}  // namespace
}  // namespace fusegrid
