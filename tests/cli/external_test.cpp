// Rows whose models are made elsewhere, through the whole program.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/hf_folder.h"
#include "cli/invoke.h"
#include "store/result_store.h"
#include "zoo/support.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class ExternalRun : public testing::Test {
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

  static std::string model(const std::string& name) { return (zoo_->folder / "seed-0" / name).string(); }
  // A command's script that answers with a copy of the model.
  void write_script(const std::string& source) const {
    write_text(script(), "out=$(sed -n 's/^  \"out\": \"\\(.*\\)\",*$/\\1/p' \"$1\")\ncp -r '" + source +
                             "' \"$out\"\n");
  }
  std::string script() const { return (folder_ / "my merge.sh").string(); }
  std::string command() const { return "[external:mine]\ncommand = sh '" + script() + "' {request}\n"; }
  Ran run(const std::string& sections, const std::vector<std::string>& more = {}) const {
    write_text(folder_ / "job.cfg", "zoo = " + zoo_->folder.string() + "\ndevice = cpu\n" + sections);
    std::vector<std::string> words{
        "run", (folder_ / "job.cfg").string(), "--results", results_.string(), "--inline", "--quiet"};
    words.insert(words.end(), more.begin(), more.end());
    return invoke(words);
  }
  Result result(const std::string& method, const std::string& task = "bars") const {
    const auto results = read_results_h5(results_ / "results.h5").results;
    return results.at("embedded-tiny/experts=2/" + method + "/seed=0/" + task + "@clean");
  }

  static inline TemporaryFolder* world_ = nullptr;
  static inline Zoo* zoo_ = nullptr;
  TemporaryFolder folder_;
  std::filesystem::path results_ = folder_ / "results";
};

TEST_F(ExternalRun, rows_stand_beside_those_of_methods) {
  write_script(model("experts/bars"));
  const Ran ran =
      run("[individual]\n" + command() + "[folder:theirs]\npath = " + model("experts/rows") + "\n");
  ASSERT_EQ(ran.code, ExitCode::kOk) << ran.err;
  EXPECT_NO_THROW(verify_results(results_));
  EXPECT_FALSE(std::filesystem::exists(results_ / "external"));
  const Result expert = result("individual");
  const Result mine = result("external:mine");
  ASSERT_EQ(mine.metrics.size(), expert.metrics.size());
  for (size_t i = 0; i < mine.metrics.size(); ++i) {
    EXPECT_EQ(mine.metrics[i].value, expert.metrics[i].value) << mine.metrics[i].name;
  }
  EXPECT_EQ(mine.facts.at("command"), "sh '" + script() + "' {request}");
  EXPECT_EQ(mine.bindings.count("file " + script()), 1U);
  EXPECT_EQ(result("folder:theirs", "rows").metrics.front().value,
            result("individual", "rows").metrics.front().value);
  const std::string board = read_text(results_ / "leaderboard.md");
  EXPECT_THAT(board, AllOf(HasSubstr("| mine "), HasSubstr("| theirs "), HasSubstr("| external ")));
}

TEST_F(ExternalRun, a_command_that_changed_makes_its_cells_stale_and_no_others) {
  write_script(model("experts/bars"));
  const std::string sections = "task = bars\n[simple_average]\n" + command();
  ASSERT_EQ(run(sections).code, ExitCode::kOk);
  EXPECT_EQ(run(sections).code, ExitCode::kOk) << "nothing to do";
  write_script(model("experts/rows"));
  const Ran stale = run(sections);
  EXPECT_EQ(stale.code, ExitCode::kConfig);
  EXPECT_THAT(stale.err, AllOf(HasSubstr("1 of 2 cells are stale"), HasSubstr("external:mine"),
                               Not(HasSubstr("simple_average"))));
  EXPECT_EQ(run(sections, {"--forget", "external:mine"}).code, ExitCode::kOk);
}

TEST_F(ExternalRun, a_command_that_fails_costs_its_cells_alone) {
  write_text(script(), "echo 'no such layer'; exit 3\n");
  const std::string sections = "task = bars\nmax_attempts = 2\n[simple_average]\n" + command();
  const Ran failed = run(sections);
  EXPECT_EQ(failed.code, ExitCode::kCellsFailed);
  EXPECT_THAT(failed.err, HasSubstr("ended with exit code 3; it printed: no such layer"));
  EXPECT_EQ(result("external:mine").attempts, 2);
  EXPECT_EQ(result("simple_average").status, Status::kValid);
  write_script(model("base"));
  EXPECT_EQ(run(sections).code, ExitCode::kOk) << "another command: it runs again by itself";
}

TEST_F(ExternalRun, folders_are_read_before_anything_runs) {
  const std::string path = (folder_ / "merged").string();
  const std::string sections = "task = bars\n[folder:theirs]\npath = " + path + "\n";
  const auto refused = [&] {
    const Ran ran = run(sections);
    EXPECT_NE(ran.code, ExitCode::kOk);
    EXPECT_FALSE(std::filesystem::exists(results_));
    return ran.err;
  };
  EXPECT_THAT(refused(), AllOf(HasSubstr("job.cfg:4: "), HasSubstr("there is no folder '" + path + "'")));

  const HfFolder expert(model("experts/bars"));
  Weights weights = expert.read_all();
  const std::string name = "vision_model.post_layernorm.bias";
  weights.at(name) = weights.at(name) * std::numeric_limits<float>::infinity();
  save_hf_folder(path, weights, expert.config());
  EXPECT_THAT(refused(), AllOf(HasSubstr("job.cfg:4: "), HasSubstr(name)));

  std::filesystem::remove_all(path);
  weights.erase(name);
  save_hf_folder(path, weights, expert.config());
  EXPECT_THAT(refused(), HasSubstr(name));

  std::filesystem::remove_all(path);
  std::filesystem::copy(model("experts/bars"), path);
  ASSERT_EQ(run(sections).code, ExitCode::kOk);
  std::filesystem::remove_all(path);
  std::filesystem::copy(model("experts/rows"), path);
  EXPECT_THAT(run(sections).err, AllOf(HasSubstr("are stale"), HasSubstr("model was '")));
}

TEST_F(ExternalRun, programs_are_looked_for_before_anything_runs) {
  const Ran ran = run("[external:mine]\ncommand = no-such-program {request}\n");
  EXPECT_EQ(ran.code, ExitCode::kConfig);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("job.cfg:3: "), HasSubstr("'no-such-program' is none in $PATH")));
  EXPECT_FALSE(std::filesystem::exists(results_));
}

TEST_F(ExternalRun, a_merge_job_has_no_such_rows) {
  write_text(folder_ / "merge.cfg", "base = b\nexpert = e\nout = o\n" + command());
  const Ran ran = invoke({"merge", "--job", (folder_ / "merge.cfg").string()});
  EXPECT_EQ(ran.code, ExitCode::kConfig);
  EXPECT_THAT(ran.err, HasSubstr("[external:mine] is a row of a grid"));
}

}  // namespace
}  // namespace fusegrid
