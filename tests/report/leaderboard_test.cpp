#include "report/leaderboard.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "report/board_fixture.h"
#include "store/result_store.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

RunInfo launch_of(const std::string& kind) {
  const MethodRecord reported{"reported", "Reported", "-", "averaging", "", "one model", false};
  return {kind, "plan", nlohmann::json::object(), {}, {reported}, {toy_task("ant"), toy_task("bee")}};
}

class WriteReport : public testing::Test {
 protected:
  void record(const std::string& kind, const Results& results) const { record(folder_, kind, results); }
  static void record(const fs::path& folder, const std::string& kind, const Results& results) {
    const auto store = ResultStore::open(folder, launch_of(kind));
    for (const auto& [name, result] : results) {
      store->record(result);
    }
    store->flush();
    store->publish();
  }
  // Libraries of the page that stand in for the real ones.
  WriteReport() {
    fs::create_directories(libraries_);
    for (const char* file : {"plots.js", "tables.js", "tables.css", "licences.txt"}) {
      std::ofstream(libraries_ / file) << "the text of " << file;
    }
  }
  void write(const fs::path& results, const fs::path& out, std::ostream& print) const {
    EXPECT_TRUE(write_report({results}, out, libraries_, print));
  }
  std::string text_of(const std::string& file) const { return bytes_of(folder_ / file); }
  static std::string bytes_of(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static Results one_result() {
    Results results;
    put(results, make_cell("reported", "", "ant"), 0.5, "1110");
    return results;
  }

  const TemporaryFolder temporary_;
  const fs::path folder_ = temporary_.path();
  const TemporaryFolder other_;
  const fs::path libraries_ = other_.path();
};

TEST_F(WriteReport, writes_all_files_and_prints_the_markdown) {
  record("grid", one_result());
  std::ostringstream out;
  write(folder_, folder_, out);
  EXPECT_EQ(out.str(), text_of("leaderboard.md"));
  EXPECT_THAT(out.str(), HasSubstr("| Reported"));
  EXPECT_THAT(out.str(), HasSubstr(metrics_sha256(folder_ / "results.h5")));
  EXPECT_THAT(text_of("leaderboard.csv"), HasSubstr("reported,Reported,,1,0,0.75,"));
  EXPECT_THAT(text_of("settings.csv"), HasSubstr("reported,,true,0.5,0.75,"));
  EXPECT_THAT(text_of("leaderboard.tex"), HasSubstr("Reported & 75.0"));
  EXPECT_THAT(text_of("cells.csv"), HasSubstr("toy,2,reported,0,ant,clean,test,accuracy,0.75,4,valid,"));
  EXPECT_THAT(text_of("report.html"), HasSubstr("<th scope=\"row\">Reported</th>"));
  EXPECT_THAT(text_of("report.html"), HasSubstr("the text of plots.js"));
  EXPECT_THAT(text_of("costs.csv"), HasSubstr("reported,,true,0.25,3"));
  EXPECT_THAT(text_of("costs.md"), HasSubstr("0.25"));
  for (const auto& entry : fs::directory_iterator(folder_)) {
    EXPECT_THAT(entry.path().string(), testing::Not(HasSubstr(".tmp")));
  }
}

TEST_F(WriteReport, beside_published_results_says_whether_one_is_outside_its_tolerance) {
  const Results results = one_result();  // 3 of 4
  const auto compare = [&](const std::string& published) {
    RunInfo launch = launch_of("grid");
    launch.provenance["job"] = "toys.cfg";
    launch.provenance["published"] = {
        {"file", "toys.csv"},
        {"text", "# Toys\nkind,row,cells,tolerance,ant,average\nmetric,,,,accuracy,\npercent,A,reported,1," +
                     published + ",\n"}};
    const auto store = ResultStore::open(folder_, launch);
    store->record(results.begin()->second);
    store->record_plan("toys", {results.begin()->first});
    store->flush();
    store->publish();
  };
  std::ostringstream out;
  compare("74.5");
  EXPECT_EQ(write_published_report(folder_, folder_ / "tables", out), ExitCode::kOk);
  EXPECT_EQ(out.str(), bytes_of(folder_ / "tables/published.md"));
  EXPECT_THAT(bytes_of(folder_ / "tables/published.csv"), HasSubstr(",A,reported,ant,accuracy,74.5,75,0.5,"));
  EXPECT_THAT(bytes_of(folder_ / "tables/published.tex"), HasSubstr("within tolerance & points & +0.50"));
  compare("73.5");
  EXPECT_EQ(write_published_report(folder_, folder_ / "tables", out), ExitCode::kDiffers);
  fs::remove(folder_ / "journal");  // results.h5 has all that it needs
  EXPECT_EQ(write_published_report(folder_, folder_ / "tables", out), ExitCode::kDiffers);
}

TEST_F(WriteReport, into_another_folder_leaves_the_results_alone) {
  const fs::path out = folder_ / "tables/new";
  record(folder_ / "results", "grid", one_result());
  std::ostringstream print;
  write(folder_ / "results", out, print);
  EXPECT_EQ(print.str(), bytes_of(out / "leaderboard.md"));
  EXPECT_TRUE(fs::exists(out / "costs.csv"));
  EXPECT_FALSE(fs::exists(folder_ / "results/leaderboard.md"));
}

TEST_F(WriteReport, gives_the_same_text_from_the_published_file_alone) {
  record("grid", one_result());
  std::ostringstream journal;
  write(folder_, folder_, journal);
  fs::remove(folder_ / "journal");
  std::ostringstream published;
  write(folder_, folder_, published);
  EXPECT_EQ(published.str(), journal.str());
}

// Everything that differs between two runs of a grid: the folder, the machine's speed, attempts, host and order.
TEST_F(WriteReport, gives_the_same_bytes_for_every_run_but_in_the_costs) {
  Results first = one_result();
  put(first, make_cell("reported", "", "bee"), 0.25, "1100");
  Results second = first;
  for (auto& [name, result] : second) {
    result.costs = {{"fuse_s", 17}, {"evaluate_s", 0.125}, {"load_s", 2}};
    result.attempts = 2;
    result.worker = "elsewhere rank 2 cuda:1";
  }
  const fs::path one = folder_ / "one";
  const fs::path other = folder_ / "other";
  std::ostringstream ignored;
  record(one, "grid", first);
  write(one, one, ignored);
  for (auto cell = second.rbegin(); cell != second.rend(); ++cell) {
    record(other, "grid", {*cell});
  }
  write(other, other, ignored);
  for (const char* file :
       {"leaderboard.md", "leaderboard.csv", "leaderboard.tex", "settings.csv", "cells.csv"}) {
    EXPECT_FALSE(bytes_of(one / file).empty()) << file;
    EXPECT_EQ(bytes_of(one / file), bytes_of(other / file)) << file;
  }
  const auto same_part = [](const std::string& page) {
    const size_t end = page.find("What follows differs from run to run.");
    EXPECT_NE(end, std::string::npos);
    return page.substr(0, end);
  };
  EXPECT_EQ(same_part(bytes_of(one / "report.html")), same_part(bytes_of(other / "report.html")));
  for (const char* file : {"costs.md", "costs.csv", "report.html"}) {
    EXPECT_NE(bytes_of(one / file), bytes_of(other / file)) << file;
  }
}

TEST_F(WriteReport, says_what_is_missing_of_a_plan) {
  record("grid", one_result());
  const auto store = ResultStore::open(folder_, launch_of("grid"));
  store->record_plan("my.cfg",
                     {make_cell("reported", "", "ant").name(), make_cell("reported", "", "bee").name(),
                      make_cell("reported", "", "ant", 0, "3").name()});
  store->flush();
  std::ostringstream out;
  write(folder_, folder_, out);
  EXPECT_THAT(out.str(),
              HasSubstr("**Unfinished.** 2 of 3 planned cells have no result yet, and 1 of 2 boards"));
}

TEST_F(WriteReport, writes_into_another_folder_and_reads_the_first_alone) {
  record("grid", one_result());
  std::ostringstream out;
  write(folder_, folder_ / "tables", out);
  EXPECT_TRUE(fs::exists(folder_ / "tables" / "leaderboard.md"));
  EXPECT_FALSE(fs::exists(folder_ / "leaderboard.md"));
}

TEST_F(WriteReport, names_the_folders_where_they_are_several) {
  record(folder_ / "small", "grid", one_result());
  Results large = one_result();
  put(large, make_cell("reported", "", "bee"), 0.25, "1100");
  record(folder_ / "large", "grid", large);
  std::ostringstream out;
  ASSERT_TRUE(write_report({folder_ / "small", folder_ / "large"}, folder_ / "all", libraries_, out));
  EXPECT_THAT(out.str(), HasSubstr("## small: toy, 2 experts"));
  EXPECT_THAT(out.str(), HasSubstr("## large: toy, 2 experts"));
  EXPECT_THAT(out.str(), HasSubstr("small: " + metrics_sha256(folder_ / "small/results.h5") + ", large: "));
  for (const char* file : {"leaderboard.csv", "settings.csv", "costs.csv", "cells.csv"}) {
    EXPECT_THAT(bytes_of(folder_ / "all" / file), testing::StartsWith("results,zoo,"));
    EXPECT_THAT(bytes_of(folder_ / "all" / file), HasSubstr("\nlarge,toy,"));
  }
  EXPECT_THAT(bytes_of(folder_ / "all/report.html"), HasSubstr("small: toy, 2 experts"));
  EXPECT_THROW(
      std::ignore = write_report({folder_ / "small", folder_ / "small/"}, folder_ / "all", libraries_, out),
      ConfigError);
}

TEST_F(WriteReport, without_the_libraries_of_the_page_writes_the_rest) {
  record("grid", one_result());
  std::ostringstream out;
  write(folder_, folder_, out);
  fs::remove(libraries_ / "plots.js");
  EXPECT_FALSE(write_report({folder_}, folder_, libraries_, out));
  EXPECT_TRUE(fs::exists(folder_ / "leaderboard.md"));
  EXPECT_FALSE(fs::exists(folder_ / "report.html")) << "an old page would be taken for the new one";
}

TEST_F(WriteReport, refuses_folders_without_results_of_a_grid) {
  std::ostringstream out;
  EXPECT_THROW(std::ignore = write_report({folder_}, folder_, libraries_, out), ConfigError);
  record("grid", {});
  EXPECT_THROW(std::ignore = write_report({folder_}, folder_, libraries_, out), ConfigError);
  EXPECT_FALSE(fs::exists(folder_ / "leaderboard.md"));
}

TEST_F(WriteReport, refuses_results_of_a_zoo) {
  record("zoo", one_result());
  std::ostringstream out;
  EXPECT_THROW(std::ignore = write_report({folder_}, folder_, libraries_, out), ConfigError);
}

TEST_F(WriteReport, leaves_no_temporary_file_where_it_cannot_write) {
  record("grid", one_result());
  fs::create_directories(folder_ / "leaderboard.md" / "occupied");  // a rename onto it fails
  std::ostringstream out;
  EXPECT_THROW(std::ignore = write_report({folder_}, folder_, libraries_, out), IoError);
  for (const auto& entry : fs::directory_iterator(folder_)) {
    EXPECT_THAT(entry.path().string(), testing::Not(HasSubstr(".tmp")));
  }
}

}  // namespace
}  // namespace fusegrid
