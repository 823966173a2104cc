// Cells of a zoo of maps: what comes of pack, kinds, decoders and merges together.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/cell.h"
#include "metrics/metric.h"
#include "support/temporary_folder.h"
#include "worker/executor.h"
#include "zoo/map_world.h"

namespace fusegrid {
namespace {

class DenseCells : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    at::set_num_threads(1);
    world_ = std::make_unique<TemporaryFolder>();
    ZooPlan plan = test::map_plan(world_->path());
    plan.overrides["expert_steps"] = 30;
    plan.overrides["expert_lr"] = 0.01;
    std::vector<Result> results;
    std::vector<ZooItem> items = base_items(plan, {0});
    for (const ZooItem& item : model_items(plan, {0})) {
      items.push_back(item);
    }
    for (const ZooItem& item : items) {
      results.push_back(make_item(plan, item, at::kCPU));
    }
    finish(plan, {0}, results);
  }
  static void TearDownTestSuite() { world_.reset(); }

  Result run(const std::string& method, const std::string& task, int64_t batch = 4) {
    const nlohmann::json settings{
        {"zoos", {{"dense-tiny", (world_->path() / "zoos" / "dense-tiny").string()}}},
        {"packs", nlohmann::json::object()},
        {"bindings", nlohmann::json::object()},
        {"batch", batch},
        {"splits", {"val", "test"}},
        {"validation", -1},
        {"precision", "fp32"},
        {"statistics", (world_->path() / "statistics").string()},
        {"statistics_disk_bytes", int64_t{1} << 30},
        {"memory_limit_bytes", 0},
        {"shards", 1}};
    const auto grid = executor_registry().at("grid")({settings, "cpu", 1, &progress_});
    return grid->run("dense-tiny/experts=3/" + method + "/seed=0/" + task + "@clean", progress_);
  }
  static double value(const Result& result, const std::string& metric) {
    for (const Metric& each : result.metrics) {
      if (each.name == metric && each.split == "test") {
        return each.value;
      }
    }
    ADD_FAILURE() << result.name << " has no " << metric << ": " << result.reason;
    return 0;
  }

  static inline std::unique_ptr<TemporaryFolder> world_;
  Progress progress_;
};

TEST_F(DenseCells, have_the_metrics_of_their_task_and_rows_that_give_them) {
  for (const auto& [task, metrics] :
       std::map<std::string, std::vector<std::string>>{{"shade", {"mean_iou", "pixel_accuracy"}},
                                                       {"near", {"absolute_error", "relative_error"}},
                                                       {"side", {"mean_angle", "within_11"}}}) {
    const Result result = run("individual", task);
    EXPECT_EQ(result.status, Status::kValid) << result.reason;
    for (const std::string& metric : metrics) {
      const auto rows =
          std::find_if(result.outcomes.begin(), result.outcomes.end(),
                       [&](const Outcomes& each) { return each.metric == metric && each.split == "test"; });
      ASSERT_NE(rows, result.outcomes.end()) << metric;
      EXPECT_EQ(rows->examples(), 6);
      EXPECT_EQ(value_of(metric_registry().at(metric), number_rows(rows->width, rows->rows)),
                value(result, metric));
    }
  }
}

TEST_F(DenseCells, tell_an_expert_from_the_base_under_its_decoder) {
  EXPECT_LT(value(run("individual", "near"), "absolute_error"),
            value(run("pretrained", "near"), "absolute_error"));
  EXPECT_GT(value(run("individual", "shade"), "mean_iou"), value(run("pretrained", "shade"), "mean_iou"));
  EXPECT_EQ(run("multitask", "side").status, Status::kValid);
}

TEST_F(DenseCells, are_of_merges_whose_statistics_are_averaged_or_made_anew) {
  const Result averaged = run("simple_average", "shade");
  const Result anew = run("simple_average{statistics=re_estimated,statistics_examples=24}", "shade");
  EXPECT_EQ(averaged.status, Status::kValid) << averaged.reason;
  EXPECT_EQ(anew.status, Status::kValid) << anew.reason;
  EXPECT_NE(averaged.facts.at("weights_sha256"), anew.facts.at("weights_sha256"));
  const Result with_heads =
      run("simple_average{statistics=re_estimated_with_heads,statistics_examples=24}", "shade");
  EXPECT_EQ(with_heads.status, Status::kValid) << with_heads.reason;
  EXPECT_EQ(with_heads.facts.at("weights_sha256"), anew.facts.at("weights_sha256"));
  EXPECT_NE(value(with_heads, "mean_iou"), value(anew, "mean_iou"));
  const Result far = run("task_arithmetic{scale=1}", "near");
  EXPECT_EQ(far.status, Status::kValid) << "statistics are not scaled: " << far.reason;
}

TEST_F(DenseCells, of_methods_that_look_at_features_and_layers) {
  for (const std::string method : {"regmean{examples=8}", "tsv_m", "iso_c", "emr", "simple_ensemble",
                                   "surgery{steps=2,inputs=validation}"}) {
    const Result result = run(method, "near");
    EXPECT_EQ(result.status, Status::kValid) << method << ": " << result.reason;
  }
}

}  // namespace
}  // namespace fusegrid
