#include "cli/reference.h"

#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/invoke.h"
#include "coordinator/grid.h"
#include "coordinator/job_file.h"
#include "report/published_table.h"
#include "support/source_folder.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string committed(const std::string& name) {
  std::ifstream stream(source_folder() / name, std::ios::binary);
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

TEST(Reference, committed_pages_are_up_to_date) {
  for (const auto& [name, page] : {std::pair{"methods.md", methods_page()},
                                   {"mergekit.md", mergekit_page()},
                                   {"tasks.md", tasks_page()}}) {
    EXPECT_EQ(committed(std::string("docs/") + name), page)
        << "run 'fusegrid docs docs' and commit the pages";
  }
}

TEST(Reference, the_page_of_job_files_has_every_key) {
  const std::string page = committed("docs/jobs.md");
  for (const auto& key : job_keys()) {
    EXPECT_THAT(page, HasSubstr("\n| `" + key.name + "` | " + key.accepts + " | " + key.fallback + " | " +
                                key.doc + " |\n"));
  }
}

TEST(Reference, describe_prints_card_and_parameters_of_a_method) {
  const Ran ran = invoke({"describe", "task_arithmetic"});
  EXPECT_EQ(ran.code, ExitCode::kOk);
  EXPECT_THAT(ran.out, AllOf(HasSubstr("Ilharco"), HasSubstr("base weights"), HasSubstr("one model"),
                             HasSubstr("scale"), HasSubstr("[-2, 2]")));
}

TEST(Reference, describe_prints_tasks_and_shifts) {
  EXPECT_THAT(invoke({"describe", "mnist"}).out, AllOf(HasSubstr("embedded8"), HasSubstr("classes")));
  EXPECT_THAT(invoke({"describe", "noun24"}).out, AllOf(HasSubstr("text8 ("), HasSubstr("text10 (")));
  EXPECT_THAT(invoke({"describe", "pixelate"}).out, HasSubstr("pixelate-1 .. pixelate-5"));
}

TEST(Reference, a_zoo_is_described_with_the_scores_of_its_experts) {
  Zoo zoo;
  zoo.name = "toy";
  zoo.tasks = {"a", "b"};
  zoo.experts = {{"wide", {"a", "b"}}, {"none", {}}};
  Replicate replicate;
  replicate.seed = 3;
  replicate.base = "base";
  replicate.digests = {{"base", "0123456789abcdef0123"}, {"expert/wide", "ff"}};
  replicate.scores = {
      {"wide/a/test/accuracy", 0.5}, {"wide/b/test/accuracy", 0.25}, {"wide/b/val/accuracy", 0.75}};
  zoo.replicates = {replicate};
  const std::string text = zoo_text(zoo);
  EXPECT_THAT(text, AllOf(HasSubstr("zoo toy"), HasSubstr("seed 3")));
  for (const char* row : {R"(base +- +- +- +- +0123456789abcdef)", R"(wide +a +accuracy +- +0\.5 +ff)",
                          R"(wide +b +accuracy +0\.75 +0\.25 +ff)", R"(none +- +- +- +- +-)"}) {
    EXPECT_TRUE(std::regex_search(text, std::regex(row))) << row << "\n" << text;
  }
}

TEST(Reference, describe_refuses_unknown_names_with_a_hint) {
  const Ran ran = invoke({"describe", "regmeen"});
  EXPECT_EQ(ran.code, ExitCode::kConfig);
  EXPECT_THAT(ran.err,
              HasSubstr("there is no method, task, shift, recipe or zoo 'regmeen'; did you mean 'regmean'?"));
}

TEST(Reference, describe_answers_methods_of_other_tools_with_the_name_here) {
  EXPECT_THAT(invoke({"describe", "linear"}).err,
              HasSubstr("zoo 'linear'; mergekit's is called 'weighted_average' here"));
}

TEST(Reference, a_list_of_no_zoos_says_where_it_looked_and_what_to_type) {
  const TemporaryFolder folder;
  ::setenv("FUSEGRID_ZOOS", (folder / "mine").c_str(), 1);
  for (const std::vector<std::string>& words : {std::vector<std::string>{"list", "zoos"}, {"zoo", "list"}}) {
    const Ran ran = invoke(words);
    EXPECT_EQ(ran.code, ExitCode::kOk);
    EXPECT_THAT(ran.out, HasSubstr("zoo  scale"));
    EXPECT_THAT(ran.err, AllOf(HasSubstr("there are no zoos in '" + (folder / "mine").string() + "'; "),
                               HasSubstr("fusegrid zoo build embedded --scale small")));
  }
  ::unsetenv("FUSEGRID_ZOOS");
  EXPECT_EQ(invoke({"list", "methods"}).err, "");
}

TEST(Reference, list_shows_every_method_task_and_shift) {
  const Ran methods = invoke({"list", "methods"});
  for (const auto& name : method_registry().names()) {
    EXPECT_THAT(methods.out, HasSubstr("\n" + name + " "));
  }
  EXPECT_THAT(invoke({"list", "tasks"}).out, HasSubstr("\nmnist "));
  EXPECT_THAT(invoke({"list", "shifts"}).out, AllOf(HasSubstr("clean"), HasSubstr("\npixelate-1..5")));
}

// Every job file in jobs/ is readable with the methods that there are.
TEST(Reference, committed_job_files_are_readable_and_begin_with_their_question) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(source_folder() / "jobs")) {
    if (entry.path().extension() != ".cfg") {
      continue;
    }
    EXPECT_NO_THROW(read_job_file(entry.path())) << entry.path();
    EXPECT_THAT(committed("jobs/" + entry.path().filename().string()), testing::ContainsRegex("^# .*[?]"));
    ++files;
  }
  EXPECT_GE(files, 5);
  EXPECT_GE(read_job_file(source_folder() / "jobs/quickstart.cfg").methods.size(), 15U);
}

// As cells are named: all settings that a job asks for.
std::set<std::string> settings_of(const JobSpec& job) {
  std::set<std::string> settings;
  for (const auto& grid : job.methods) {
    for (const auto& parameters : grid.combinations()) {
      Cell cell;
      cell.method = grid.method;
      cell.parameters = named_parameters(method_registry().at(grid.method), parameters);
      settings.insert(cell.method_text());
    }
  }
  return settings;
}

// A published job has the table of its name, and runs the rows of it whose method there is, and no others.
TEST(Reference, published_jobs_run_the_rows_of_their_tables) {
  int jobs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(source_folder() / "jobs/published")) {
    if (entry.path().extension() != ".cfg") {
      continue;
    }
    const std::string stem = entry.path().stem();
    const JobSpec job = read_job_file(entry.path());
    EXPECT_THAT(job.text, testing::ContainsRegex("^# .*[?]"));
    ASSERT_TRUE(job.published) << stem;
    EXPECT_EQ(job.published->text, stem + ".csv");
    const PublishedTable table =
        parse_published_table(committed("jobs/published/" + stem + ".csv"), stem + ".csv");
    std::set<std::string> zoos;
    std::set<std::string> rows;
    for (const auto& row : table.rows) {
      if (!row.cells.empty()) {
        rows.insert(row.cells);
      }
      if (!row.zoo.empty()) {
        zoos.insert(row.zoo);
      }
    }
    EXPECT_EQ(settings_of(job), rows) << stem;
    std::set<std::string> asked;
    for (const auto& zoo : job.zoos) {
      asked.insert(zoo.text);
    }
    EXPECT_TRUE(zoos.empty() || zoos == asked) << stem;
    ++jobs;
  }
  EXPECT_GE(jobs, 20);
}

}  // namespace
}  // namespace fusegrid
