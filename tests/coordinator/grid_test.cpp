#include "coordinator/grid.h"

#include <gmock/gmock.h>

#include "coordinator/estimate.h"
#include "coordinator/grid_world.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

using Grid = GridTest;

TEST_F(Grid, draws_sets_of_experts) {
  const auto found = names(cells("experts = random(2, 3) all\n[fake_average]\n"));
  EXPECT_EQ(found.size(), 3U * 2 + 3)
      << "all sets of two of three experts, on their own tasks, and the whole";
  const auto sets = merged_sets(parse_job("zoo = toy\nexperts = random(2, 3) 2\n[fake_average]\n", "job.cfg"),
                                {{"toy", three_tasks()}});
  ASSERT_EQ(sets.at("toy").size(), 3U);
  EXPECT_THAT(sets.at("toy").at("2").dump(), testing::HasSubstr("named"));
  EXPECT_THAT(sets.at("toy").at("a+c").dump(), testing::StartsWith("[\"random "));
  EXPECT_THAT(error_of("experts = random(2)\n[fake_average]\n"),
              testing::AllOf(testing::HasSubstr("job.cfg:2: "), testing::HasSubstr("must be random(K, R)")));
  EXPECT_THAT(
      error_of("\nexperts = random(2, 4)\n[fake_average]\n"),
      testing::AllOf(testing::HasSubstr("job.cfg:3: "), testing::HasSubstr("have fewer of that size")));
}

TEST_F(Grid, names_are_canonical_and_sorted) {
  EXPECT_THAT(
      names(cells("experts = 2\nseed = 1\n[fake_trim]\nscale = 0.50\n[fake_average]\n")),
      ElementsAre("toy/experts=2/fake_average/seed=1/a@clean", "toy/experts=2/fake_average/seed=1/b@clean",
                  "toy/experts=2/fake_trim{scale=0.5}/seed=1/a@clean",
                  "toy/experts=2/fake_trim{scale=0.5}/seed=1/b@clean"));
}

TEST_F(Grid, is_refused_with_its_number_before_it_fills_the_memory) {
  std::string values;
  for (int i = 0; i < 1000; ++i) {
    values += " " + std::to_string(i) + "e-4";
  }
  const std::string grid = "[fake_trim]\nscale =" + values + "\ndensity =" + values + "\n";
  EXPECT_THAT(error_of(grid),
              AllOf(StartsWith("job.cfg: a job must have at most 1000000 cells, but it asks for 3000000"),
                    HasSubstr("take values out of the grid")));
}

TEST_F(Grid, every_name_reads_back_as_its_cell) {
  for (const auto& cell : cells("experts = 2..3 c+a\nseed = 0..1\n[fake_trim]\nscale = 1 2\n")) {
    EXPECT_EQ(Cell::parse(cell.name()).name(), cell.name());
  }
}

// A new option renames no cell, and one at its default makes none that is there twice.
TEST_F(Grid, parameters_at_their_defaults_are_left_out) {
  const auto spelled =
      names(cells("experts = 2\n[fake_trim]\ndensity = 0.20\nscale = 0.3 0.5\nmerge = sum\n"));
  EXPECT_EQ(spelled, names(cells("experts = 2\n[fake_trim]\n[fake_trim:more]\nscale = 0.5\n")));
  EXPECT_EQ(spelled.front(), "toy/experts=2/fake_trim/seed=0/a@clean");
}

// Executors read a method's parameters from the cell's name; all of them are recorded.
TEST_F(Grid, all_parameters_are_a_binding_of_the_cell) {
  const auto some = cells("experts = 3\ntask = a\n[fake_trim]\n[fake_trim:weighted]\nweights = 1:2:3\n");
  ASSERT_EQ(some.size(), 2U);
  EXPECT_EQ(cell_bindings(some[0]).at("parameters"), "density=0.2,scale=0.3,merge=sum,weights=");
  EXPECT_EQ(some[1].parameters, "weights=1:2:3");
  EXPECT_EQ(cell_bindings(some[1]).at("parameters"), "density=0.2,scale=0.3,merge=sum,weights=1:2:3");
}

TEST_F(Grid, a_range_of_experts_is_every_prefix) {
  EXPECT_EQ(cells("experts = 1..3\n[fake_average]\n").size(), 1U + 2 + 3);
  EXPECT_EQ(cells("experts = 1..3\ntask = all\n[fake_average]\n").size(), 9U);
}

TEST_F(Grid, cells_of_overlapping_grids_are_there_once) {
  const auto once = cells("[fake_trim]\nscale = 0.1 0.3\n[fake_trim:more]\nscale = 0.3 0.5\n");
  EXPECT_EQ(once.size(), 3U * 3);
  // the same experts in four spellings
  EXPECT_EQ(cells("experts = all 3 a+b+c 3..3\n[fake_average]\n").size(), 3U);
}

TEST_F(Grid, the_order_of_named_experts_is_kept) {
  EXPECT_THAT(names(cells("experts = c+a\n[fake_average]\n")),
              ElementsAre("toy/experts=c+a/fake_average/seed=0/a@clean",
                          "toy/experts=c+a/fake_average/seed=0/c@clean"));
}

TEST_F(Grid, unknown_tasks_are_named_with_line_and_hint) {
  Zoo zoo = three_tasks();
  zoo.tasks = {"mnist", "fashion", "terrain"};
  zoo.experts = {{"mnist", {"mnist"}}};
  EXPECT_THAT(error_of("task = mnits\n[fake_average]\n", zoo),
              AllOf(StartsWith("job.cfg:2: "), HasSubstr("zoo 'toy' has no task 'mnits'"),
                    HasSubstr("did you mean 'mnist'?"), HasSubstr("Known: mnist, fashion, terrain")));
}

TEST_F(Grid, experts_that_the_zoo_lacks_are_refused) {
  EXPECT_THAT(error_of("experts = 2..4\n[fake_average]\n"),
              AllOf(StartsWith("job.cfg:2: "), HasSubstr("must be a range within 1..3")));
  EXPECT_THAT(error_of("experts = a+x\n[fake_average]\n"), AllOf(StartsWith("job.cfg:2: "), HasSubstr("x")));
  Zoo zoo = three_tasks();
  zoo.replicates[0].experts.erase("b");
  EXPECT_THAT(error_of("[fake_average]\n", zoo),
              AllOf(StartsWith("job.cfg:2: "), HasSubstr("zoo 'toy' has no expert 'b' with seed 0")));
}

// Expert "x" owns two tasks, "y" none; nobody owns "c".
Zoo zoo_of_owners() {
  Zoo zoo = three_tasks();
  zoo.experts = {{"x", {"a", "b"}}, {"y", {}}};
  for (Replicate& replicate : zoo.replicates) {
    replicate.experts = {{"x", "x"}, {"y", "y"}};
  }
  return zoo;
}

TEST_F(Grid, the_tasks_of_the_merged_experts_are_evaluated) {
  EXPECT_THAT(
      names(cells("experts = 2\n[fake_average]\n", zoo_of_owners())),
      ElementsAre("toy/experts=2/fake_average/seed=0/a@clean", "toy/experts=2/fake_average/seed=0/b@clean"));
  EXPECT_THAT(
      names(cells("experts = y\ntask = all\n[fake_average]\n", zoo_of_owners())),
      ElementsAre("toy/experts=y/fake_average/seed=0/a@clean", "toy/experts=y/fake_average/seed=0/b@clean",
                  "toy/experts=y/fake_average/seed=0/c@clean"));
  EXPECT_EQ(cells("experts = all\n[fake_average]\n", zoo_of_owners()).front().experts, "2");
  EXPECT_THAT(error_of("experts = 2\ntask = c\n[fake_oracle]\n", zoo_of_owners()),
              HasSubstr("only answers for a, b, but 'task' asks for 'c'"));
}

TEST_F(Grid, data_are_asked_of_experts_that_own_tasks) {
  EXPECT_THAT(error_of("experts = 2\n[fake_train]\n", zoo_of_owners()),
              AllOf(StartsWith("job.cfg:3: "), HasSubstr("expert 'y' of zoo 'toy' owns no task"),
                    HasSubstr("method 'fake_train'")));
  EXPECT_EQ(cells("experts = 2\n[fake_adapt]\n", zoo_of_owners()).size(), 2U)
      << "on the test inputs of a and b";
  EXPECT_THAT(error_of("experts = y\ntask = a\n[fake_adapt]\n", zoo_of_owners()),
              HasSubstr("the experts y of zoo 'toy' own no task"));
}

TEST_F(Grid, seeds_that_the_zoo_lacks_are_refused) {
  EXPECT_THAT(error_of("seed = 5\n[fake_average]\n"),
              AllOf(StartsWith("job.cfg:1: "), HasSubstr("none of seed 5")));
  Zoo zoo = three_tasks();
  zoo.replicates.resize(1);  // three repetitions of one replicate would look independent
  EXPECT_THAT(error_of("seed = 0..2\n[fake_average]\n", zoo),
              AllOf(HasSubstr("none of seed 1 (seeds: 0)"), HasSubstr("zoo build embedded")));
  zoo.imported = true;
  EXPECT_EQ(cells("seed = 0..2\n[fake_average]\n", zoo).size(), 9U);
}

TEST_F(Grid, cards_bound_the_number_of_experts) {
  EXPECT_THAT(error_of("[fake_pair]\n"),
              AllOf(StartsWith("job.cfg:2: "),
                    HasSubstr("'fake_pair' takes exactly 2 experts, but 'experts' gives it 3")));
  EXPECT_EQ(cells("experts = 2\n[fake_pair]\n").size(), 2U);
}

TEST_F(Grid, a_multitask_model_must_be_there_where_a_card_needs_it) {
  EXPECT_EQ(cells("[fake_multitask]\n").size(), 3U);
  EXPECT_THAT(error_of("seed = 1\n[fake_multitask]\n"),
              AllOf(StartsWith("job.cfg:3: "),
                    HasSubstr("needs a multi-task model, but zoo 'toy' has none for seed 1")));
}

TEST_F(Grid, methods_with_task_identity_only_answer_for_their_experts) {
  EXPECT_EQ(cells("experts = 2\n[fake_oracle]\n").size(), 2U);
  EXPECT_THAT(error_of("experts = 2\ntask = a c\n[fake_oracle]\n"),
              AllOf(StartsWith("job.cfg:4: "), HasSubstr("only answers for a, b, but 'task' asks for 'c'"),
                    HasSubstr("write 'task = all'")));
}

// Whoever asks for all tasks wants a row of such a method, too.
TEST_F(Grid, methods_with_task_identity_leave_out_unseen_tasks_where_a_job_asks_for_all) {
  EXPECT_THAT(
      names(cells("experts = 2\ntask = all\n[fake_oracle]\n[fake_average]\n")),
      ElementsAre("toy/experts=2/fake_average/seed=0/a@clean", "toy/experts=2/fake_average/seed=0/b@clean",
                  "toy/experts=2/fake_average/seed=0/c@clean", "toy/experts=2/fake_oracle/seed=0/a@clean",
                  "toy/experts=2/fake_oracle/seed=0/b@clean"));
  EXPECT_THAT(error_of("experts = y\ntask = all\n[fake_oracle]\n", zoo_of_owners()),
              AllOf(HasSubstr("tasks that a merged expert owns, of which there are none"),
                    Not(HasSubstr("write 'task = all'"))));
}

TEST_F(Grid, methods_check_their_parameters_against_the_experts) {
  EXPECT_THAT(
      error_of("[fake_trim]\nweights = 0.5:0.5\n"),
      AllOf(StartsWith("job.cfg:2: "), HasSubstr("one number for each of the 3 experts, but it has 2")));
}

TEST_F(Grid, only_keeps_what_the_expression_finds) {
  const auto all = cells("[fake_trim]\nscale = 0.1 0.3\n[fake_average]\n");
  EXPECT_EQ(only_matching(all, "fake_trim\\{.*scale=0\\.1.*/b@").size(), 1U);
  EXPECT_EQ(only_matching(all, "nothing").size(), 0U);
  EXPECT_THAT([&] { only_matching(all, "(a"); },
              testing::ThrowsMessage<UsageError>(HasSubstr("--only takes a regular expression")));
}

TEST_F(Grid, settings_name_each_zoo_by_its_absolute_folder) {
  const JobSpec job =
      parse_job("zoo = toy\nbatch = 7\nvalidation = 100\nprecision = bf16\n[fake_average]\n", "job.cfg");
  const auto settings =
      grid_settings(job, {{"toy", three_tasks()}}, {"results/statistics", 77}, 99, {{"toy/0/base", "ab"}});
  EXPECT_EQ(settings["bindings"]["toy/0/base"], "ab");
  EXPECT_EQ(settings["packs"], nlohmann::json::object()) << "nobody has hashed a pack here";
  EXPECT_EQ(settings["zoos"]["toy"], std::filesystem::absolute("zoos/toy").string());
  EXPECT_EQ(settings["batch"], 7);
  EXPECT_EQ(settings["validation"], 100);
  EXPECT_EQ(settings["precision"], "bf16");
  EXPECT_EQ(settings["splits"], nlohmann::json({"val", "test"}));
  EXPECT_EQ(settings["statistics"], std::filesystem::absolute("results/statistics").string());
  EXPECT_EQ(settings["statistics_disk_bytes"], 77);
  EXPECT_EQ(settings["memory_limit_bytes"], 99);
}

TEST_F(Grid, items_of_one_merge_share_a_group) {
  const std::map<std::string, ZooSize> sizes = {
      {"toy",
       {.model_bytes = 1000,
        .contents = {{"a", task_of({{"test", 10}})}, {"b", task_of({{"test", 20}})}},
        .pack_bytes = 1}}};
  const Estimator estimator(sizes, {});
  const auto grid = cells("experts = 2\n[fake_average]\n");
  const Item a = estimator.item(grid[0]);
  const Item b = estimator.item(grid[1]);
  EXPECT_EQ(a.group, "toy/experts=2/fake_average/seed=0");
  EXPECT_EQ(b.group, a.group);
  EXPECT_GT(a.group_cost_s, 0);
  EXPECT_NEAR(b.cost_s, 2 * a.cost_s, 1e-12);
}

TEST_F(Grid, merges_of_weights_alone_are_shared) {
  const std::map<std::string, ZooSize> sizes = {
      {"toy",
       {.model_bytes = int64_t{1} << 40, .contents = {{"a", task_of({{"test", 10}})}}, .pack_bytes = 1}}};
  const Estimator alone(sizes, {});
  const Estimator shared(sizes, {}, 3);
  const auto averages = cells("experts = 3\ntask = a\n[fake_average]\n");
  const auto trained = cells("experts = 3\ntask = a\n[fake_train]\n");

  EXPECT_EQ(alone.item(averages[0]).shards, 1);
  EXPECT_EQ(shared.item(averages[0]).shards, 3);
  EXPECT_EQ(shared.item(trained[0]).shards, 1);  // needs data
  EXPECT_EQ(shared.item(averages[0]).name, alone.item(averages[0]).name);
}

class Totals : public Grid {
 protected:
  static constexpr int64_t kModel = int64_t{1} << 40;
  static constexpr int64_t kImage = int64_t{1} << 30;

  static JobTotals totals_of(const std::string& text, int64_t shards = 1) {
    const Zoo zoo = three_tasks();
    const TaskInfo splits = task_of({{"train", 5}, {"val", 1}, {"test", 3}});
    const ZooSize size{.model_bytes = kModel,
                       .checkpoint_bytes = 7,
                       .input_bytes = kImage,
                       .contents = {{"a", splits}, {"b", splits}, {"c", splits}},
                       .pack_bytes = 100};
    const JobSpec job = parse_job("zoo = toy\nbatch = 1\n" + text, "job.cfg");
    const JobZoos zoos{{"toy", zoo}};
    CostModel measured;
    measured.observe("fuse/toy/fake_average", 0);
    return totals(job, expand(job, zoos), {}, zoos, Estimator({{"toy", size}}, measured, shards));
  }
  // Of what is measured in models and in images; the rest is small beside them.
  static int64_t models(const JobTotals& totals) { return totals.worker_memory_bytes / kModel; }
  static int64_t images(const JobTotals& totals) {
    constexpr int64_t kPixels = 2 * 4;  // two copies of the batch as floating-point numbers
    return totals.worker_memory_bytes % kModel / kImage - kPixels;
  }
};

TEST_F(Totals, a_worker_holds_the_models_that_a_cell_reads_and_its_result) {
  EXPECT_EQ(models(totals_of("experts = 2\n[fake_average]\n")), 2 + 1);
  EXPECT_EQ(models(totals_of("experts = 3\ntask = a\n[fake_average]\n")), 3 + 1);
  EXPECT_EQ(models(totals_of("experts = 3\n[fake_average]\n", 2)), 1)
      << "a team reads its models from their files";
  EXPECT_EQ(models(totals_of("experts = 2 3\n[fake_average]\n")), 3 + 1) << "not both at a time";
}

TEST_F(Totals, a_worker_holds_each_split_that_it_reads_once) {
  EXPECT_EQ(images(totals_of("experts = 3\ntask = a\n[fake_average]\n[fake_trim]\n")), 3 + 1);
  EXPECT_EQ(images(totals_of("experts = 3\n[fake_average]\n")), 3 * (3 + 1));
  EXPECT_EQ(images(totals_of("experts = 3\ntask = a\n[fake_train]\n")), 3 + 1 + 3 * 5);
}

TEST_F(Totals, counts_what_is_read_once) {
  EXPECT_EQ(totals_of("experts = 3\n[fake_average]\n[fake_trim]\n").read_bytes, 3 * 7 + 100);
  EXPECT_EQ(totals_of("experts = 2\nseed = 0 1\n[fake_average]\n").read_bytes, 2 * 7 + 100)
      << "the seeds of this zoo share their folders";
}

TEST_F(Totals, shifts_of_a_merge_pay_for_validation_once) {
  const double clean = totals_of("experts = 2\n[fake_average]\n").all.cost_s;
  const auto both = totals_of("experts = 2\nshift = clean contrast-1\n[fake_average]\n").all;
  EXPECT_EQ(both.merges, 1);
  EXPECT_NEAR(both.cost_s, 1.75 * clean, 1e-9 * clean);
}

TEST_F(Grid, teams_need_enough_workers) {
  const JobSpec job = parse_job("zoo = toy\nshards = 3\n[fake_average]\n", "job.cfg");
  check_workers(job, 3);
  EXPECT_THAT([&] { check_workers(job, 2); },
              testing::ThrowsMessage<ConfigError>(
                  AllOf(StartsWith("job.cfg:2: 'shards' must be at most the number of workers, but it is 3"),
                        HasSubstr("there are 2"), HasSubstr("mpirun -n 4"))));
  EXPECT_EQ(grid_settings(job, {{"toy", three_tasks()}}, {}, 0, {})["shards"], 3);
  EXPECT_EQ(grid_settings(job, {{"toy", three_tasks()}}, {}, 0, {})["statistics"], "") << "saved nowhere";
}

TEST_F(Grid, estimates_follow_recorded_costs) {
  const auto grid = cells("experts = 2\n[fake_average]\n");
  Result result;
  result.name = grid[0].name();
  result.costs = {{"fuse_s", 3.0}, {"evaluate_s", 5.0}};
  CostModel model;
  learn(model, {{result.name, result}, {"not a cell", Result{}}});
  const Estimator estimator({{"toy", {.model_bytes = 1, .contents = {{"a", {}}}}}}, model);
  EXPECT_EQ(estimator.fuse_s(grid[0]), 3.0);
  EXPECT_EQ(estimator.evaluate_s(grid[0]), 5.0);
}

}  // namespace
}  // namespace fusegrid
