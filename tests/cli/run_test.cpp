#include <chrono>
#include <map>
#include <numeric>
#include <set>
#include <thread>

#include <ATen/Parallel.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_writer.h"
#include "cli/invoke.h"
#include "core/digest.h"
#include "report/choice.h"
#include "store/result_store.h"
#include "zoo/pack_digest.h"
#include "zoo/support.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// A zoo that is there as far as its description goes: all that is looked at before its task pack.
void describe_zoo(const std::filesystem::path& folder) {
  const nlohmann::json replicate = {{"seed", 0},
                                    {"base", "model"},
                                    {"heads", "model"},
                                    {"experts", {{"bars", "model"}, {"rows", "model"}}},
                                    {"digests", nlohmann::json::object()},
                                    {"scores", nlohmann::json::object()}};
  const auto expert = [](const std::string& task) {
    return nlohmann::json{{"name", task}, {"tasks", nlohmann::json::array({task})}};
  };
  std::filesystem::create_directories(folder / "model");
  write_text(folder / "zoo.json", nlohmann::json{{"format", "fusegrid-zoo"},
                                                 {"version", 2},
                                                 {"name", "tiny"},
                                                 {"scale", "tiny"},
                                                 {"suite", "tiny"},
                                                 {"pack", "pack.h5"},
                                                 {"pack_sha256", ""},
                                                 {"tasks", {"bars", "rows"}},
                                                 {"experts", {expert("bars"), expert("rows")}},
                                                 {"replicates", nlohmann::json::array({replicate})}}
                                      .dump());
}

TEST(Run, refuses_a_task_pack_with_an_empty_split_before_anything_is_written) {
  const TemporaryFolder folder;
  describe_zoo(folder / "tiny");
  test::write_tiny_pack(folder / "tiny/pack.h5", 20, 0);
  write_text(folder / "job.cfg", "zoo = " + (folder / "tiny").string() + "\n[simple_average]\n");

  const Ran ran = invoke({"run", (folder / "job.cfg").string(), "--results", (folder / "results").string()});

  EXPECT_EQ(ran.code, ExitCode::kDataCorrupt);
  EXPECT_THAT(ran.err, HasSubstr("/tasks/bars/test: there must be at least one example"));
  EXPECT_FALSE(std::filesystem::exists(folder / "results"));
}

// The tiny zoo with "rows" made a task of numbers, those of its classes.
class RunOfTwoKinds : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    at::set_num_threads(1);  // as an executor does
    world_ = new TemporaryFolder;
    zoo_ = new Zoo(test::make_tiny_zoo(test::tiny_plan(world_->path())));
    std::erase_if(zoo_->replicates[0].scores,
                  [](const auto& score) { return score.first.starts_with("rows/"); });
    give_head(1);
  }
  static void TearDownTestSuite() {
    delete zoo_;
    delete world_;
  }

  // attributes: of "rows".
  static void give_pack(const std::string& attributes) {
    auto tasks = test::tiny_tasks();
    test::StoredGroup& task = tasks.at("rows");
    task.attributes["kind"] = "regress";
    task.arrays["attributes"] = test::stored_bytes(attributes);
    for (auto& [name, split] : task.groups) {
      const auto labels = std::get<std::vector<uint16_t>>(split.arrays.at("labels").values);
      split.arrays.erase("labels");
      split.arrays["values"] = test::stored(std::vector<float>(labels.begin(), labels.end()));
    }
    test::stored_pack(tasks).write(zoo_->pack);
    zoo_->pack_sha256 = sha256_of_file(zoo_->pack);
    zoo_->save();
  }
  // Of "rows", with so many outputs.
  static void give_head(int64_t outputs) {
    const std::filesystem::path file = zoo_->replicates[0].heads;
    const SafetensorsFile heads(file);
    const Weights tensors{{"logit_scale", heads.read("logit_scale").clone()},
                          {"bars.rows", heads.read("bars.rows").clone()},
                          {"rows.weight", normal(3, 0, 0, outputs * 8).view({outputs, 8})},
                          {"rows.bias", at::zeros({outputs})}};
    write_safetensors(file, tensors);
  }
  static std::string zoo() { return zoo_->folder.string(); }

  Ran run(const std::string& job) const {
    write_text(folder_ / "job.cfg", "zoo = " + zoo() + "\nexperts = 2\ndevice = cpu\n" + job);
    return invoke(
        {"run", (folder_ / "job.cfg").string(), "--results", results_.string(), "--inline", "--quiet"});
  }

  static inline TemporaryFolder* world_ = nullptr;
  static inline Zoo* zoo_ = nullptr;
  TemporaryFolder folder_;
  std::filesystem::path results_ = folder_ / "results";
};

// Of a cell on test.
std::map<std::string, double> test_metrics(const Result& result) {
  std::map<std::string, double> metrics;
  for (const Metric& metric : result.metrics) {
    if (metric.split == "test") {
      metrics.emplace(metric.name, metric.value);
    }
  }
  return metrics;
}

TEST_F(RunOfTwoKinds, records_and_compares_numbers_as_it_does_classes) {
  give_pack("{}");
  EXPECT_EQ(invoke({"zoo", "verify", zoo()}).code, ExitCode::kOk);
  const Ran ran = run("shift = clean contrast-5\n[individual]\n[simple_average]\n[simple_ensemble]\n");
  ASSERT_EQ(ran.code, ExitCode::kOk) << ran.err;
  EXPECT_NO_THROW(verify_results(results_));

  const Records records = read_results_h5(results_ / "results.h5");
  const TaskRecord& task = records.tasks.at({"embedded-tiny", "rows"});
  EXPECT_EQ(task.kind, "regress");
  EXPECT_EQ(task.metric, "pearson");
  const ExamplesRecord& examples = records.examples.at({"embedded-tiny", "rows", "test"});
  EXPECT_EQ(examples.labels, std::vector<int32_t>(9, -1));
  EXPECT_EQ(examples.groups[8], 8U);
  EXPECT_EQ(records.examples.at({"embedded-tiny", "bars", "test"}).labels[2], 2);
  const std::string cell = "embedded-tiny/experts=2/simple_average/seed=0/rows@";
  const Result& clean = records.results.at(cell + "clean");
  EXPECT_NE(test_metrics(clean), test_metrics(records.results.at(cell + "contrast-5")));
  EXPECT_TRUE(clean.predictions.empty());
  std::map<std::string, int64_t> widths;
  for (const Outcomes& outcomes : clean.outcomes) {
    widths[outcomes.split + "/" + outcomes.metric] = outcomes.width;
    EXPECT_EQ(outcomes.examples(), 9);
  }
  EXPECT_EQ(widths, (std::map<std::string, int64_t>{
                        {"test/pearson", 5}, {"test/rmse", 1}, {"val/pearson", 5}, {"val/rmse", 1}}));

  const Ran report = invoke({"report", results_.string()});
  ASSERT_EQ(report.code, ExitCode::kOk) << report.err;
  EXPECT_THAT(report.out, AllOf(HasSubstr("| bars (Accuracy, %) | rows (Pearson) |   Relative |"),
                                HasSubstr("95 % |"), Not(HasSubstr("no interval"))));
}

TEST_F(RunOfTwoKinds, a_pack_may_name_another_metric_of_the_kind) {
  give_pack(R"({"metric": "rmse"})");
  const std::string job = "task = rows\n[simple_average]\n";
  const Ran ran = run(job);
  ASSERT_EQ(ran.code, ExitCode::kOk) << ran.err;
  EXPECT_THAT(ran.out,
              AllOf(HasSubstr("RMSE, lower is better"), HasSubstr("95 % |"), Not(HasSubstr("no interval"))));
  give_pack(R"({"metric": "accuracy"})");
  std::filesystem::remove_all(results_);
  EXPECT_THAT(run(job).err,
              HasSubstr("the metric of task 'rows' must be one of pearson, rmse, but it is 'accuracy'"));
  EXPECT_FALSE(std::filesystem::exists(results_));
}

TEST_F(RunOfTwoKinds, refuses_methods_that_need_distributions_or_classes) {
  give_pack("{}");
  for (const std::string section : {"fisher", "layer_wise_adamerging", "wemoe", "majority_vote",
                                    "simple_ensemble]\nlevel = probabilities\n[simple_average"}) {
    const Ran ran = run("[" + section + "]\n");
    EXPECT_EQ(ran.code, ExitCode::kConfig) << section;
    EXPECT_THAT(ran.err, HasSubstr("which task 'rows' has not")) << section;
  }
  EXPECT_FALSE(std::filesystem::exists(results_));
}

TEST_F(RunOfTwoKinds, a_head_of_numbers_has_one_output) {
  give_pack("{}");
  give_head(3);
  const Ran ran = invoke({"zoo", "verify", zoo()});
  give_head(1);
  EXPECT_EQ(ran.code, ExitCode::kDataCorrupt);
  EXPECT_THAT(ran.out,
              HasSubstr("the head of task 'rows' must have as many outputs as a task of the kind regress "
                        "asks for, 1, but it has 3"));
}

TEST_F(RunOfTwoKinds, chooses_over_several_metrics_by_what_the_experts_alone_reach) {
  give_pack("{}");
  const std::string grid = "[task_arithmetic]\nscale = 0.1 0.5 1\n";
  const Ran refused = run("test = chosen\n" + grid);
  EXPECT_EQ(refused.code, ExitCode::kConfig);
  EXPECT_THAT(refused.err, HasSubstr("(bars: accuracy, rows: "));
  EXPECT_THAT(refused.err, HasSubstr("the job needs the section [individual], or 'test = all'"));
  EXPECT_FALSE(std::filesystem::exists(results_));

  ASSERT_EQ(run("test = chosen\n" + grid + "[individual]\n").code, ExitCode::kOk);
  const Records records = read_results_h5(results_ / "results.h5");
  std::set<std::string> tested;
  for (const auto& [name, result] : records.results) {
    if (splits_of(result).contains("test") && Cell::parse(name).method == "task_arithmetic") {
      tested.insert(name);
    }
  }
  EXPECT_EQ(tested.size(), 2U) << "one setting, on two tasks";
  EXPECT_TRUE(chosen_untested_cells(records).empty()) << "what was tested is what the report chooses";
}

TEST_F(RunOfTwoKinds, tests_what_validation_chose_and_the_rest_when_it_is_asked_for) {
  give_pack("{}");
  const std::string grid = "task = bars\n[simple_average]\n[task_arithmetic]\nscale = 0.1 0.5 1\n";
  const Ran chosen = run("test = chosen\n" + grid);
  ASSERT_EQ(chosen.code, ExitCode::kOk) << chosen.err;
  EXPECT_THAT(chosen.out, Not(HasSubstr("not tested")));
  EXPECT_NO_THROW(verify_results(results_));
  const auto first = read_results_h5(results_ / "results.h5").results;
  int64_t tested = 0;
  for (const auto& [name, result] : first) {
    EXPECT_TRUE(splits_of(result).contains("val")) << name;
    tested += splits_of(result).contains("test") ? 1 : 0;
  }
  EXPECT_EQ(first.size(), 4U);
  EXPECT_EQ(tested, 2) << "the method without a choice, and one of three";

  EXPECT_EQ(run("test = chosen\n" + grid).code, ExitCode::kOk);
  EXPECT_EQ(read_results_h5(results_ / "results.h5").results.size(), 4U);
  ASSERT_EQ(run(grid).code, ExitCode::kOk);
  for (const auto& [name, result] : read_results_h5(results_ / "results.h5").results) {
    EXPECT_EQ(splits_of(result), (std::set<std::string>{"test", "val"})) << name;
    if (splits_of(first.at(name)).contains("test")) {
      EXPECT_EQ(test_metrics(result), test_metrics(first.at(name))) << name;
    }
  }
}

TEST_F(RunOfTwoKinds, tells_tasks_that_no_merged_expert_owns_from_the_others) {
  give_pack("{}");
  const auto run_first = [&] {
    write_text(folder_ / "job.cfg", "zoo = " + zoo() + "\nexperts = bars\ntask = all\ndevice = cpu\n" +
                                        "[individual]\n[task_arithmetic]\nscale = 0.5 1\n");
    return invoke(
        {"run", (folder_ / "job.cfg").string(), "--results", results_.string(), "--inline", "--quiet"});
  };
  const Ran ran = run_first();
  ASSERT_EQ(ran.code, ExitCode::kOk) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("Unseen tasks, which no merged expert owns: rows."));
  const Records records = read_results_h5(results_ / "results.h5");
  EXPECT_EQ(records.bindings.at(owner_binding("embedded-tiny", "1", "bars")).value, "bars");
  EXPECT_EQ(records.bindings.at(owner_binding("embedded-tiny", "1", "rows")).value, kNoOwner);
  EXPECT_EQ(records.results.size(), 5U) << "individual has no model for rows";

  const Zoo before = *zoo_;
  zoo_->experts = {{"bars", {"bars", "rows"}}, {"rows", {}}};
  zoo_->save();
  const Ran other = run_first();
  EXPECT_EQ(other.code, ExitCode::kConfig);
  EXPECT_THAT(other.err, HasSubstr("embedded-tiny/experts=1/owner/rows is bars now, but launch 0"));
  *zoo_ = before;
  zoo_->save();
}

TEST_F(RunOfTwoKinds, a_dry_run_writes_nothing) {
  give_pack("{}");
  const std::filesystem::path record = pack_record(*zoo_);
  std::filesystem::remove(record);                               // of a run of another test
  std::this_thread::sleep_for(std::chrono::milliseconds(2100));  // of a younger pack no digest is recorded
  const std::string job = (folder_ / "job.cfg").string();
  write_text(job, "zoo = " + zoo() + "\ntask = bars\n[simple_average]\n");
  const Ran dry = invoke({"run", job, "--results", results_.string(), "--dry-run"});
  ASSERT_EQ(dry.code, ExitCode::kOk) << dry.err;
  EXPECT_FALSE(std::filesystem::exists(record));
  EXPECT_FALSE(std::filesystem::exists(results_));
  ASSERT_EQ(run("task = bars\n[simple_average]\n").code, ExitCode::kOk);
  EXPECT_TRUE(std::filesystem::exists(record)) << "which a run writes";
}

TEST_F(RunOfTwoKinds, results_of_two_precisions_do_not_mix) {
  give_pack("{}");
  const std::string job = "task = bars\n[simple_average]\n";
  ASSERT_EQ(run(job).code, ExitCode::kOk);
  const Ran mixed = run("precision = bf16\n" + job);
  EXPECT_EQ(mixed.code, ExitCode::kConfig);
  EXPECT_THAT(mixed.err, AllOf(HasSubstr("precision"), HasSubstr("bf16"), HasSubstr("fp32")));
  std::filesystem::remove_all(results_);
  EXPECT_EQ(run("precision = bf16\n" + job).code, ExitCode::kOk);
  std::filesystem::remove_all(results_);
  EXPECT_THAT(run("precision = fp8\n" + job).err,
              HasSubstr("must be one of fp32, tf32, bf16, but it is 'fp8'"));
}

TEST_F(RunOfTwoKinds, validation_may_be_cut_to_the_first_examples) {
  give_pack("{}");
  ASSERT_EQ(run("validation = 4\ntask = bars\n[individual]\n").code, ExitCode::kOk);
  const auto results = read_results_h5(results_ / "results.h5").results;
  for (const Metric& metric : results.begin()->second.metrics) {
    EXPECT_EQ(metric.count, metric.split == "val" ? 4 : 9) << metric.name;
  }
}

}  // namespace
}  // namespace fusegrid
