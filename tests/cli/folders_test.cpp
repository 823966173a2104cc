// Commands about whole results folders: compare, join, sbatch, status --watch.
#include <cstdio>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/invoke.h"
#include "report/board_fixture.h"
#include "store/result_store.h"
#include "support/temporary_folder.h"
#include "zoo/support.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

void write_folder(const std::filesystem::path& folder, const Results& results,
                  const std::string& base = "aa") {
  const Records records = toy_records(results);
  RunInfo run{.kind = "grid",
              .plan_sha256 = "plan",
              .provenance = {},
              .bindings = {{"toy/0/base", base}},
              .methods = {},
              .tasks = {}};
  for (const auto& [name, method] : records.methods) {
    run.methods.push_back(method);
  }
  for (const auto& [name, task] : records.tasks) {
    run.tasks.push_back(task);
  }
  const auto store = ResultStore::open(folder, run);
  std::vector<std::string> names;
  for (const auto& [name, result] : results) {
    store->record(result);
    names.push_back(name);
  }
  store->record_plan("toy", names);
  store->flush();
  store->publish();
}

class Folders : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  TemporaryFolder folder_;
};

TEST_F(Folders, compare_tells_what_changed_by_its_exit_code) {
  Results changed = toy_results();
  const std::string cell = make_cell("masks", "", "ant").name();
  changed[cell].status = Status::kFailed;
  write_folder(path("a"), toy_results());
  write_folder(path("b"), changed, "bb");
  const Ran same = invoke({"compare", path("a"), path("a")});
  EXPECT_EQ(same.code, ExitCode::kOk);
  EXPECT_THAT(same.out, HasSubstr("11 cells in both: 11 equal, 0 within noise, 0 worse, 0 better"));
  const Ran other = invoke({"compare", path("a"), path("b"), "--csv", path("changes.csv")});
  EXPECT_EQ(other.code, ExitCode::kDiffers);
  EXPECT_THAT(other.out,
              AllOf(HasSubstr("no longer valid: 1\n  " + cell), HasSubstr("toy/0/base: aa -> bb")));
  EXPECT_TRUE(std::filesystem::exists(path("changes.csv")));
  EXPECT_THAT(invoke({"compare", path("a"), path("c")}).err, HasSubstr("there is no results folder"));
}

TEST_F(Folders, join_makes_a_folder_that_reports) {
  Results one = toy_results();
  Results other;
  for (const std::string task : {"ant", "bee_fly"}) {
    const std::string cell = make_cell("masks", "", task).name();
    other[cell] = one.at(cell);
    one.erase(cell);
  }
  const Results third(one.begin(), std::next(one.begin()));
  one.erase(one.begin());
  write_folder(path("a"), one);
  write_folder(path("b"), other);
  write_folder(path("c"), third);
  const Ran joined = invoke({"join", path("a"), path("b"), path("c"), "--results", path("both")});
  EXPECT_EQ(joined.code, ExitCode::kOk) << joined.err;
  EXPECT_THAT(joined.out, HasSubstr("12 results of 3 runs"));
  const Ran alone = invoke({"join", path("a"), "--results", path("copy")});
  EXPECT_EQ(alone.code, ExitCode::kConfig);
  EXPECT_THAT(alone.err, HasSubstr("two results folders or more are joined, but there is 1"));
  EXPECT_THAT(invoke({"report", path("both")}).out, HasSubstr("| Masks "));
  EXPECT_EQ(invoke({"verify", path("both")}).code, ExitCode::kOk);
  const Ran again = invoke({"join", path("a"), path("b"), "--results", path("both")});
  EXPECT_EQ(again.code, ExitCode::kConfig);
  EXPECT_THAT(again.err, HasSubstr("not empty"));
  EXPECT_EQ(invoke({"join", path("a"), path("b")}).code, ExitCode::kUsage);
}

TEST_F(Folders, watch_ends_where_nothing_is_left) {
  write_folder(path("a"), toy_results());
  const Ran ran = invoke({"status", path("a"), "--watch"});
  EXPECT_EQ(ran.code, ExitCode::kOk);
  EXPECT_THAT(ran.out, AllOf(HasSubstr("11 valid, 0 invalid, 1 failed"), HasSubstr("12 of 12 cells")));
  EXPECT_EQ(invoke({"status", path("a"), "--watch=0"}).code, ExitCode::kUsage);
}

TEST_F(Folders, sbatch_prints_a_script_that_bash_reads) {
  const Zoo zoo = test::make_tiny_zoo(test::tiny_plan(folder_.path()));
  write_text(folder_ / "my job.cfg", "zoo = " + zoo.folder.string() + "\n[simple_average]\n");
  const std::string job = path("my job.cfg");
  const Ran ran = invoke({"sbatch", job, "--nodes", "2", "--gpus-per-node", "8", "--time", "1:30:00"});
  EXPECT_EQ(ran.code, ExitCode::kOk) << ran.err;
  EXPECT_THAT(ran.out,
              AllOf(HasSubstr("#!/bin/bash\n"), HasSubstr("--job-name=fusegrid-my_job\n"),
                    HasSubstr("--ntasks-per-node=9\n"), HasSubstr("--gpus-per-node=8\n"),
                    HasSubstr("--time=1:30:00\n"), HasSubstr("--signal=B:USR1@300\n"),
                    HasSubstr("mpirun -n 17 --map-by ppr:9:node"), HasSubstr("'" + job + "'"),
                    HasSubstr("--device cuda"), HasSubstr("scontrol requeue"), Not(HasSubstr("account"))));
  write_text(folder_ / "job.sbatch", ran.out);
  EXPECT_EQ(std::system(("bash -n '" + path("job.sbatch") + "'").c_str()), 0);
  const Ran cpus = invoke({"sbatch", job, "--workers-per-node", "4"});
  EXPECT_THAT(cpus.out, AllOf(HasSubstr("mpirun -n 5 "), HasSubstr("--device cpu"), Not(HasSubstr("gpus"))));
}

TEST_F(Folders, sbatch_refuses_what_slurm_would_not_read) {
  const Zoo zoo = test::make_tiny_zoo(test::tiny_plan(folder_.path()));
  write_text(folder_ / "job.cfg", "zoo = " + zoo.folder.string() + "\nshards = 3\n[simple_average]\n");
  const std::string job = path("job.cfg");
  EXPECT_THAT(invoke({"sbatch", job, "--gpus-per-node", "4", "--account", "my lab"}).err,
              HasSubstr("--account must be one word"));
  EXPECT_THAT(invoke({"sbatch", job, "--gpus-per-node", "4", "--workers-per-node", "2"}).err,
              HasSubstr("both are given"));
  EXPECT_THAT(invoke({"sbatch", job, "--gpus-per-node", "2"}).err, HasSubstr("shards"));
  EXPECT_EQ(invoke({"sbatch", path("none.cfg")}).code, ExitCode::kConfig);
}

}  // namespace
}  // namespace fusegrid
