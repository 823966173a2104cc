#include "coordinator/external_tasks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/external_settings.h"
#include "coordinator/fake_methods.h"
#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr auto kGsm8k = "[task:gsm8k]\ncommand = sh eval.sh {request}\nmetric = exact_match\n";

JobSpec parse_sections(const std::string& sections) {
  return parse_job("zoo = toy\n" + sections, "job.cfg");
}

std::string parse_error(const std::string& sections) {
  return message_of<ConfigError>([&] { parse_sections(sections); });
}

// A zoo of two experts, "math" with the task of its name and "code" without any.
Zoo two_experts(const std::vector<std::string>& tasks = {"math"}) {
  Zoo zoo;
  zoo.name = "toy";
  zoo.folder = "zoos/toy";
  zoo.tasks = tasks;
  zoo.experts = {{"math", tasks}, {"code", {}}};
  Replicate& replicate = zoo.replicates.emplace_back();
  replicate.base = "base";
  replicate.experts = {{"math", "m"}, {"code", "c"}};
  return zoo;
}

class ExternalTasks : public testing::Test {
 protected:
  static void SetUpTestSuite() { register_fake_methods(); }

  static std::vector<std::string> names(const std::string& sections, const Zoo& zoo = two_experts()) {
    std::vector<std::string> names;
    for (const Cell& cell : expand(parse_sections(sections), {{"toy", zoo}})) {
      names.push_back(cell.name());
    }
    return names;
  }
  static std::string error_of(const std::string& sections, const Zoo& zoo = two_experts()) {
    return message_of<ConfigError>([&] { names(sections, zoo); });
  }
};

TEST_F(ExternalTasks, are_sections_of_a_job) {
  const JobSpec job = parse_sections(
      "[fake_average]\n[task:gsm8k]\ncommand = python3 'my eval.py' {request}  # mine\nmetric = nll\n"
      "better = lower\nunit = nats\nexpert = math\nvalidation = yes\nlimit = 100\ntimeout_s = 90\n"
      "[fake_trim]\nscale = 0.5\n");
  ASSERT_EQ(job.external_tasks.size(), 1U);
  const TaskSection& section = job.external_tasks[0];
  EXPECT_EQ(section.name, "gsm8k");
  EXPECT_EQ(section.line, 3);
  EXPECT_THAT(section.task.command.words, ElementsAre("python3", "my eval.py", "{request}"));
  EXPECT_EQ(section.task.command.timeout_s, 90);
  EXPECT_EQ(section.task.metric, "nll");
  EXPECT_EQ(section.task.better, Better::kLower);
  EXPECT_EQ(section.task.unit, Unit::kNats);
  EXPECT_EQ(section.task.expert, "math");
  EXPECT_TRUE(section.task.has_validation);
  EXPECT_EQ(section.task.limit, 100);
  ASSERT_EQ(job.methods.size(), 2U);
  EXPECT_EQ(job.methods[1].values.at("scale")[0].text, "0.5");
  EXPECT_EQ(task_section(job, "gsm8k"), &section);
  EXPECT_EQ(task_section(job, "math"), nullptr);
}

TEST_F(ExternalTasks, may_stand_above_the_methods) {
  const JobSpec job = parse_sections(std::string(kGsm8k) + "[fake_trim]\nscale = 0.5\n");
  EXPECT_EQ(job.methods.size(), 1U);
  EXPECT_EQ(job.external_tasks.size(), 1U);
}

TEST_F(ExternalTasks, have_a_metric_whose_side_and_unit_may_be_known) {
  const auto task = [](const std::string& lines) {
    return parse_sections("[fake_average]\n[task:a]\ncommand = c {request}\n" + lines).external_tasks[0].task;
  };
  EXPECT_EQ(task("metric = exact_match,strict\n").unit, Unit::kFraction);
  EXPECT_EQ(task("metric = exact_match,strict\n").better, Better::kHigher);
  EXPECT_EQ(task("metric = perplexity\n").unit, Unit::kNone);
  EXPECT_EQ(task("metric = perplexity\n").better, Better::kLower);
  EXPECT_EQ(task("metric = perplexity\nbetter = lower\n").better, Better::kLower);
  EXPECT_THAT(message_of<ConfigError>([&] { task("metric = perplexity\nbetter = higher\n"); }),
              AllOf(StartsWith("job.cfg:3: "), HasSubstr("known as one where lower is better"),
                    HasSubstr("leave 'better' out")));
  EXPECT_THAT(message_of<ConfigError>([&] { task("metric = accuracy\nunit = none\n"); }),
              HasSubstr("leave 'unit' out"));
}

TEST_F(ExternalTasks, need_a_command_a_metric_and_a_name) {
  EXPECT_THAT(parse_error("[fake_average]\n[task:a]\nmetric = m\n"),
              AllOf(StartsWith("job.cfg:3: "), HasSubstr("[task:a] needs a line 'command = ")));
  EXPECT_THAT(parse_error("[fake_average]\n[task:a]\ncommand = c {request}\n"),
              HasSubstr("needs a line 'metric = NAME'"));
  EXPECT_THAT(parse_error("[fake_average]\n[task:a]\ncommand = c\nmetric = m\n"),
              AllOf(StartsWith("job.cfg:4: "), HasSubstr("python3 my_evaluator.py {request}")));
  EXPECT_THAT(parse_error("[task]\n"), HasSubstr("[task:NAME]"));
  EXPECT_THAT(parse_error("[task:all]\n"), HasSubstr("'all'"));
  EXPECT_THAT(parse_error(kGsm8k + std::string(kGsm8k)),
              AllOf(StartsWith("job.cfg:5: "), HasSubstr("[task:gsm8k] is already in line 2")));
  EXPECT_THAT(parse_error(kGsm8k), HasSubstr("needs at least one [method] section"));
}

TEST_F(ExternalTasks, refuse_keys_and_values_that_are_none) {
  const auto with = [](const std::string& line) {
    return parse_error(std::string("[fake_average]\n") + kGsm8k + line + "\n");
  };
  EXPECT_THAT(with("metrc = m"), AllOf(StartsWith("job.cfg:6: "), HasSubstr("did you mean 'metric'")));
  EXPECT_THAT(with("metric = m"), HasSubstr("'metric' takes a single value"));
  EXPECT_THAT(with("better = more"), HasSubstr("is higher or lower, but it is 'more'"));
  EXPECT_THAT(with("unit = percent"),
              HasSubstr("is fraction, nats, metres, degrees or none, but it is 'percent'"));
  EXPECT_THAT(with("validation = maybe"), HasSubstr("must be yes or no, but it is 'maybe'"));
  EXPECT_THAT(with("limit = 0"), HasSubstr("'limit' must lie in [1, "));
  EXPECT_THAT(with("expert = a b"), HasSubstr("single value"));
}

TEST_F(ExternalTasks, are_evaluated_beside_those_of_the_zoo) {
  const std::string sections = std::string("[fake_average]\n") + kGsm8k;
  EXPECT_THAT(names(sections), ElementsAre("toy/experts=2/fake_average/seed=0/gsm8k@clean",
                                           "toy/experts=2/fake_average/seed=0/math@clean"));
  EXPECT_THAT(names("task = all\n" + sections), names(sections));
  EXPECT_THAT(names("task = math\n" + sections), ElementsAre("toy/experts=2/fake_average/seed=0/math@clean"));
  EXPECT_THAT(names("task = gsm8k\n" + sections),
              ElementsAre("toy/experts=2/fake_average/seed=0/gsm8k@clean"));
  EXPECT_THAT(error_of("task = gsm8\n" + sections), HasSubstr("no task 'gsm8'; did you mean 'gsm8k'"));
}

TEST_F(ExternalTasks, are_all_that_a_zoo_without_a_pack_is_evaluated_on) {
  EXPECT_THAT(names(std::string("[fake_average]\n") + kGsm8k, two_experts({})),
              ElementsAre("toy/experts=2/fake_average/seed=0/gsm8k@clean"));
  EXPECT_THAT(error_of("[fake_average]\n", two_experts({})),
              AllOf(StartsWith("job.cfg: "), HasSubstr("add a section [task:NAME]")));
}

TEST_F(ExternalTasks, are_answered_by_a_model_per_task_where_they_have_an_expert) {
  EXPECT_THAT(names(std::string("[fake_oracle]\n") + kGsm8k),
              ElementsAre("toy/experts=2/fake_oracle/seed=0/math@clean"));
  const std::string owned = std::string("[fake_oracle]\n") + kGsm8k + "expert = code\n";
  EXPECT_THAT(names(owned), ElementsAre("toy/experts=2/fake_oracle/seed=0/gsm8k@clean",
                                        "toy/experts=2/fake_oracle/seed=0/math@clean"));
  EXPECT_THAT(names("experts = math\n" + owned), ElementsAre("toy/experts=1/fake_oracle/seed=0/math@clean"));
  EXPECT_THAT(error_of(std::string("[fake_oracle]\n") + kGsm8k, two_experts({})),
              AllOf(HasSubstr("[task:gsm8k] is none of them"), HasSubstr("'expert = NAME' below it")));
}

TEST_F(ExternalTasks, have_an_owner_where_their_expert_is_merged) {
  const JobSpec job = parse_sections(std::string("[fake_average]\n") + kGsm8k + "expert = code\n");
  const Zoo zoo = two_experts();
  EXPECT_EQ(task_owners(job, zoo, {"math", "code"}).at("gsm8k"), "code");
  EXPECT_EQ(task_owners(job, zoo, {"math"}).count("gsm8k"), 0U);
  EXPECT_EQ(task_owners(job, zoo, {"math"}).at("math"), "math");
}

TEST_F(ExternalTasks, have_names_and_experts_that_fit_the_zoo) {
  const std::string command = "command = c {request}\nmetric = m\n";
  EXPECT_THAT(error_of("[fake_average]\n[task:math]\n" + command),
              AllOf(StartsWith("job.cfg:3: "), HasSubstr("zoo 'toy' has a task of that name")));
  EXPECT_THAT(error_of("[fake_average]\n[task:a]\n" + command + "expert = mat\n"),
              AllOf(StartsWith("job.cfg:3: "), HasSubstr("must be one of zoo 'toy', but it is 'mat'"),
                    HasSubstr("did you mean 'math'")));
}

TEST_F(ExternalTasks, are_asked_about_models_that_a_folder_can_hold) {
  EXPECT_THAT(
      error_of(std::string("[fake_ensemble]\n") + kGsm8k),
      AllOf(StartsWith("job.cfg:3: "), HasSubstr("'fake_ensemble' together"), HasSubstr("a job of its own")));
  EXPECT_THAT(names(std::string("task = math\n[fake_ensemble]\n") + kGsm8k),
              ElementsAre(HasSubstr("/math@")));
}

TEST_F(ExternalTasks, are_not_shifted) {
  EXPECT_THAT(error_of(std::string("shift = gaussian_noise-3\n[fake_average]\n") + kGsm8k),
              AllOf(StartsWith("job.cfg:4: "), HasSubstr("a job without 'shift'")));
}

TEST_F(ExternalTasks, without_validation_choose_no_parameters) {
  const std::string sweep = "[fake_trim]\nscale = 0.2 0.3\n";
  const std::string owned = std::string(kGsm8k) + "expert = math\n";
  EXPECT_THAT(error_of(sweep + owned),
              AllOf(StartsWith("job.cfg:4: "), HasSubstr("[task:gsm8k] has no validation examples"),
                    HasSubstr("'fake_trim' is to be chosen"), HasSubstr("'validation = yes'")));
  EXPECT_THAT(error_of(sweep + kGsm8k, two_experts({})), HasSubstr("has no validation examples"))
      << "nothing else is there to choose by";
  EXPECT_EQ(names(sweep + owned + "validation = yes\n").size(), 4U);
  EXPECT_EQ(names(sweep + kGsm8k).size(), 4U) << "it is unseen, so that the zoo's task alone chooses";
  EXPECT_THAT(error_of("test = chosen\n" + sweep + kGsm8k),
              HasSubstr("('test = chosen' validates every setting first)"));
  EXPECT_EQ(names("[fake_trim]\nscale = 0.2\n" + owned).size(), 2U) << "a single setting needs no choice";
}

TEST_F(ExternalTasks, are_bindings_of_their_cells_alone) {
  const TemporaryFolder folder;
  const std::string script = (folder / "eval.sh").string();
  write_text(script, "v1");
  JobSpec job =
      parse_sections("[fake_average]\n[task:gsm8k]\ncommand = sh " + script + " {request}\nmetric = m\n");
  std::vector<Cell> cells{{"z", "2", "fake_average", "", 0, "gsm8k"},
                          {"z", "2", "fake_average", "", 0, "math"}};
  bind_external_tasks(job, cells);
  const auto before = cell_bindings(cells[0]);
  EXPECT_EQ(before.at("task command"), "sh " + script + " {request}");
  EXPECT_EQ(before.at("task file " + script).size(), 64U);
  EXPECT_EQ(before.at("task metric"), "m");
  EXPECT_EQ(before.at("task limit"), "all examples");
  EXPECT_EQ(before.at("task validation"), "no");
  EXPECT_THAT(cells[1].task_bindings, IsEmpty());
  write_text(script, "v2");
  bind_external_tasks(job, cells);
  EXPECT_NE(cell_bindings(cells[0]), before);
  EXPECT_THAT(message_of<ConfigError>([&] {
                JobSpec missing =
                    parse_sections("[fake_average]\n[task:a]\ncommand = no-such {request}\nmetric = m\n");
                bind_external_tasks(missing, cells);
              }),
              AllOf(StartsWith("job.cfg:3: "), HasSubstr("'no-such' is none in $PATH")));
}

TEST_F(ExternalTasks, are_told_to_executors_and_to_readers) {
  const JobSpec job =
      parse_sections("[fake_average]\n[task:a]\ncommand = c {request}\nmetric = edits\nbetter = lower\n");
  const auto settings = external_settings(job, "/results/external");
  const ExternalTask told = settings.at("tasks").at("a");
  EXPECT_EQ(told.metric, "edits");
  EXPECT_EQ(told.better, Better::kLower);
  const TaskRecord record = external_task_record("toy", job.external_tasks[0]);
  EXPECT_EQ(record, (TaskRecord{"toy", "a", "external", "edits", "lower", "fraction", "a"}));
}

}  // namespace
}  // namespace fusegrid
