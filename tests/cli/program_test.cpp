#include "cli/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/invoke.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST(Program, help_names_every_command_and_every_exit_code) {
  const Ran ran = invoke({"--help"});
  EXPECT_EQ(ran.code, ExitCode::kOk);
  for (const auto& command : commands()) {
    if (command.hidden) {
      EXPECT_THAT(ran.out, Not(HasSubstr("\n  " + command.name + " ")));
    } else {
      EXPECT_THAT(ran.out, HasSubstr("\n  " + command.name + " "));
    }
  }
  for (const int code : {0, 1, 2, 3, 65, 69, 74, 75}) {
    EXPECT_THAT(ran.out, testing::ContainsRegex("\n +" + std::to_string(code) + "  "));
  }
}

TEST(Program, every_command_has_help_with_examples) {
  for (const auto& command : commands()) {
    if (command.hidden || command.name == "zoo" || command.name == "adapter") {
      continue;
    }
    const Ran ran = invoke({command.name, "--help"});
    EXPECT_EQ(ran.code, ExitCode::kOk) << command.name;
    EXPECT_THAT(ran.out, AllOf(StartsWith("Usage: fusegrid " + command.name), HasSubstr("--help"),
                               HasSubstr("Examples:\n  fusegrid " + command.name)));
  }
  const std::vector<std::string> of_zoo{"build", "pretrain", "list", "show", "verify", "import"};
  for (const auto& [group, names] :
       {std::pair("zoo", of_zoo), {"adapter", std::vector<std::string>{"extract", "merge"}}}) {
    for (const std::string& name : names) {
      const Ran ran = invoke({group, name, "--help"});
      EXPECT_EQ(ran.code, ExitCode::kOk) << name;
      EXPECT_THAT(ran.out, HasSubstr(std::string("Examples:\n  fusegrid ") + group + " " + name));
      EXPECT_THAT(invoke({group, "--help"}).out, HasSubstr("\n  " + name + " "));
    }
  }
}

TEST(Program, without_a_command_it_prints_help_and_fails) {
  const Ran ran = invoke({});
  EXPECT_EQ(ran.code, ExitCode::kUsage);
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, HasSubstr("Usage: fusegrid COMMAND"));
}

TEST(Program, version_names_revision_and_libraries) {
  EXPECT_THAT(
      invoke({"--version"}).out,
      AllOf(StartsWith("fusegrid "), HasSubstr("(git "), HasSubstr("LibTorch 2."), HasSubstr("HDF5 1."),
            HasSubstr("NCCL "), HasSubstr("Boost 1."), HasSubstr("CPU capability ")));
}

TEST(Program, unknown_commands_are_refused_with_a_hint) {
  const Ran ran = invoke({"rnu"});
  EXPECT_EQ(ran.code, ExitCode::kUsage);
  EXPECT_THAT(ran.err, AllOf(StartsWith("fusegrid: error: there is no command 'rnu'; did you mean 'run'?"),
                             HasSubstr("Known: run, cells, "), Not(HasSubstr("executor"))));
}

TEST(Program, mistakes_on_the_command_line_are_usage_errors_of_one_line) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"run"}, "'fusegrid run' needs JOB (the job file)"},
      {{"run", "a.cfg", "b.cfg"}, "'fusegrid run' takes 1 argument(s), more were given"},
      {{"run", "a.cfg", "--dryrun"}, "unrecognised option '--dryrun'"},
      {{"run", "a.cfg", "--quie"}, "unrecognised option '--quie'"},
      {{"run", "a.cfg", "--threads", "x"}, "('x') for option '--threads' is invalid"},
      {{"list", "method"},
       "WHAT must be one of methods, tasks, zoos, shifts, recipes, jobs, but it is 'method' (did you mean "
       "'methods'?)"},
      {{"zoo"}, "'fusegrid zoo' needs one of the commands build, pretrain, list"},
      {{"zoo", "bild"}, "no command 'fusegrid zoo bild'; did you mean 'build'? Known: build, pretrain"},
      {{"zoo", "build", "imagenet", "--scale", "small"},
       "RECIPE must be one of decoder, dense, embedded, flow, independent, label_spaces, language_model, "
       "many, multimodal, seq2seq, text, "
       "text_grid, trajectory, two_towers, but it is"},
      {{"zoo", "build", "embedded"}, "the option '--scale' is required but missing"},
      {{"zoo", "import", "mine", "--scale", "x", "--suite", "x", "--base", "x", "--pack", "x", "--expert",
        "a=b", "--pooling", "middle"},
       "--pooling takes first, last, mean or none, but it is 'middle'"},
      {{"zoo", "build", "embedded", "--scale", "small", "--seeds", "2..0"},
       "--seeds must be a seed or FIRST..LAST"},
      {{"zoo", "build", "embedded", "--scale", "small", "--seeds", "x"}, "--seeds must be a whole number"},
      {{"zoo", "build", "embedded", "--scale", "small", "--set", "shots"},
       "--set takes OPTION=VALUE, but it is 'shots'"},
      {{"zoo", "build", "text", "--scale", "small", "--skip", "experts"},
       "--skip must be multitask, but it is 'experts'"},
      {{"zoo", "build", "embedded", "--scale", "small", "--threads", "0", "--out", "never"},
       "--threads must lie in [1, 1024], but it is 0"},
      {{"zoo", "build", "embedded", "--scale", "small", "--device", "tpu", "--out", "never"},
       "--device must be auto, cpu or cuda, but it is 'tpu'"},
  };
  for (const auto& [words, message] : cases) {
    const Ran ran = invoke(words);
    EXPECT_EQ(ran.code, ExitCode::kUsage) << message;
    EXPECT_THAT(ran.err, AllOf(StartsWith("fusegrid: error: "), HasSubstr(message)));
    EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
  }
  EXPECT_FALSE(std::filesystem::exists("never"));
}

TEST(Program, help_of_a_command_is_its_help) {
  EXPECT_EQ(invoke({"help", "run"}).out, invoke({"run", "--help"}).out);
  EXPECT_EQ(invoke({"help"}).out, invoke({"--help"}).out);
  EXPECT_THAT(invoke({"help", "rnu"}).err, HasSubstr("did you mean 'run'?"));
}

TEST(Program, results_folders_that_are_not_there_are_named_with_the_nearest) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "results/quickstart");
  for (const auto* command : {"report", "status", "verify"}) {
    const Ran ran = invoke({command, (folder / "results/quikstart/").string()});
    EXPECT_EQ(ran.code, ExitCode::kConfig);
    EXPECT_THAT(ran.err, AllOf(HasSubstr("there is no results folder '"), HasSubstr("results/quickstart'?")));
  }
}

TEST(Program, mistakes_in_what_to_run_are_config_errors) {
  EXPECT_EQ(invoke({"run", "no/such.cfg"}).code, ExitCode::kConfig);
  EXPECT_THAT(invoke({"run", "no/such.cfg"}).err, HasSubstr("there is no job file 'no/such.cfg'"));
  const Ran scale = invoke({"zoo", "build", "embedded", "--scale", "tiny"});
  EXPECT_EQ(scale.code, ExitCode::kConfig);
  EXPECT_THAT(scale.err, HasSubstr("tiny"));
  EXPECT_EQ(invoke({"zoo", "show", "no-such-zoo"}).code, ExitCode::kConfig);
  const std::vector<std::pair<std::vector<std::string>, std::string>> builds = {
      {{"embedded", "--scale", "small", "--set", "shots=x"}, "'shots'"},
      {{"embedded", "--scale", "small", "--set", "widht=2"},
       "recipe embedded at scale small has no parameter 'widht'; did you mean 'width'?"},
      {{"embedded", "--scale", "small", "--head", "probe"}, "'head'"},
      {{"text", "--scale", "small", "--head", "cosine"}, "joint"},
      {{"text", "--scale", "small", "--pack", "no-such.h5"},
       "no-such.h5'; name one with --pack, or make that of text8: tools/make_text_pack.py small"},
      {{"text", "--scale", "small", "--base", "."}, "leave --base out"},
      {{"text", "--scale", "medium", "--pack", "no-such.h5"}, "tools/make_text_pack.py medium"},
  };
  for (const auto& [words, message] : builds) {
    std::vector<std::string> all{"zoo", "build", "--out", "never"};
    all.insert(all.end(), words.begin(), words.end());
    const Ran ran = invoke(all);
    EXPECT_TRUE(ran.code == ExitCode::kConfig || ran.code == ExitCode::kIo) << message;
    EXPECT_THAT(ran.err, HasSubstr(message));
  }
  EXPECT_FALSE(std::filesystem::exists("never"));
}

TEST(Program, knows_which_commands_engage_workers) {
  EXPECT_TRUE(engages_workers({"run", "a.cfg"}));
  EXPECT_TRUE(engages_workers({"zoo", "build", "embedded"}));
  EXPECT_TRUE(engages_workers({"zoo", "pretrain", "embedded"}));
  EXPECT_FALSE(engages_workers({"zoo", "list"}));
  EXPECT_FALSE(engages_workers({"status", "results/run"}));
  EXPECT_FALSE(engages_workers({}));
}

}  // namespace
}  // namespace fusegrid
