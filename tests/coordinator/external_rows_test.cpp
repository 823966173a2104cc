#include "coordinator/external_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/external_settings.h"
#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

JobSpec parse(const std::string& sections) {
  return parse_job("zoo = z\n" + sections, "job.cfg");
}

std::string error_of(const std::string& sections) {
  return message_of<ConfigError>([&] { parse(sections); });
}

TEST(ExternalRows, are_sections_of_a_job) {
  const JobSpec job = parse(
      "[external:my-merge]\ncommand = python3 'my merge.py' {request}  # mine\ntimeout_s = 90\n"
      "[folder:theirs]\npath = \"models/of theirs/{seed}\"\n");
  ASSERT_EQ(job.methods.size(), 2U);
  EXPECT_EQ(job.methods[0].method, "external:my-merge");
  EXPECT_EQ(job.methods[0].external->command.text, "python3 'my merge.py' {request}");
  EXPECT_THAT(job.methods[0].external->command.words, ElementsAre("python3", "my merge.py", "{request}"));
  EXPECT_EQ(job.methods[0].external->command.timeout_s, 90);
  EXPECT_EQ(job.methods[0].combinations().size(), 1U);
  EXPECT_EQ(job.methods[1].method, "folder:theirs");
  EXPECT_EQ(job.methods[1].external->path, "models/of theirs/{seed}");
}

TEST(ExternalRows, need_a_name_of_their_own) {
  EXPECT_THAT(error_of("[external]\n"), AllOf(StartsWith("job.cfg:2: "), HasSubstr("[external:NAME]")));
  EXPECT_THAT(error_of("[folder:a/b]\n"), HasSubstr("but it is 'a/b'"));
  EXPECT_THAT(error_of("[external:a]\ncommand = c {request}\n[folder:a]\npath = p\n"),
              AllOf(StartsWith("job.cfg:4: "), HasSubstr("'a' is already that of the row in line 2")));
}

TEST(ExternalRows, need_a_command_or_a_path) {
  EXPECT_THAT(error_of("[external:a]\ntimeout_s = 5\n"),
              AllOf(StartsWith("job.cfg:2: "), HasSubstr("'command = PROGRAM ... {request}'")));
  EXPECT_THAT(error_of("[folder:a]\n"), HasSubstr("needs a line 'path = FOLDER'"));
  EXPECT_THAT(error_of("[external:a]\ncommand =\n"), HasSubstr("'command' has no value"));
  EXPECT_THAT(error_of("[external:a]\ncommand\n"), HasSubstr("neither 'key = value' nor"));
  EXPECT_THAT(error_of("[external:a]\ncommand = python3 my.py\n"),
              AllOf(HasSubstr("must have {request}"), HasSubstr("it is 'python3 my.py'")));
}

TEST(ExternalRows, have_keys_of_their_own_each_once) {
  EXPECT_THAT(error_of("[external:a]\ncomand = c {request}\n"),
              AllOf(HasSubstr("no key 'comand'; did you mean 'command'"), StartsWith("job.cfg:3: ")));
  EXPECT_THAT(error_of("[folder:a]\ntimeout_s = 5\n"), HasSubstr("[folder:a] has no key 'timeout_s'"));
  EXPECT_THAT(error_of("[folder:a]\npath = a b\n"), HasSubstr("put a value with spaces in quotes"));
  EXPECT_THAT(error_of("[folder:a]\npath = a\npath = b\n"), HasSubstr("'path' takes a single value"));
  EXPECT_THAT(error_of("[external:a]\ncommand = c {request}\ntimeout_s = 0\n"),
              HasSubstr("must lie in [1, 604800], but it is 0"));
}

TEST(ExternalRows, a_command_and_the_files_that_it_names_are_bindings_of_its_cells_alone) {
  const TemporaryFolder folder;
  const std::string script = (folder / "my merge.py").string();
  write_text(script, "v1");
  JobSpec job = parse("[external:a]\ncommand = sh '" + script + "' {request}\n[folder:b]\npath = p\n");
  std::vector<Cell> cells{{"z", "2", "external:a", "", 0, "t"}, {"z", "2", "other", "", 0, "t"}};
  job.methods.pop_back();
  bind_external_rows(job, {}, cells);
  const auto before = cells[0].method_bindings;
  EXPECT_EQ(before.at("command"), "sh '" + script + "' {request}");
  EXPECT_EQ(before.at("file " + script).size(), 64U);
  EXPECT_EQ(before.size(), 2U) << "a program of the system is not watched";
  EXPECT_EQ(cell_bindings(cells[0]).at("command"), before.at("command"));
  EXPECT_TRUE(cells[1].method_bindings.empty());
  EXPECT_EQ(cells[0].name(), "z/experts=2/external:a/seed=0/t@clean");
  EXPECT_EQ(Cell::parse(cells[0].name()).method, "external:a");
  write_text(script, "v2");
  bind_external_rows(job, {}, cells);
  EXPECT_NE(cells[0].method_bindings, before);
}

TEST(ExternalRows, executors_are_told_them) {
  const JobSpec job = parse("[external:a]\ncommand = sh {request}\ntimeout_s = 5\n");
  const auto settings = external_settings(job, "/results/external");
  const ExternalRow row = settings.at("rows").at("external:a");
  EXPECT_EQ(row.command.timeout_s, 5);
  EXPECT_THAT(row.command.words, ElementsAre("sh", "{request}"));
  EXPECT_EQ(settings.at("folder"), "/results/external");
}

TEST(ExternalRows, have_a_card_by_their_name) {
  const MethodCard& card = method_registry().at("external:mine").card;
  EXPECT_EQ(card.title, "mine");
  EXPECT_EQ(to_string(card.family), "external");
  EXPECT_TRUE(method_registry().contains("folder:theirs"));
  EXPECT_FALSE(method_registry().contains("external"));
  for (const std::string& name : method_registry().names()) {
    EXPECT_FALSE(is_external(name)) << "they are in no list of methods";
  }
}

}  // namespace
}  // namespace fusegrid
