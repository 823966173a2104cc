// The parts have tests of their own: here is what comes of them together.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "worker/executor.h"
#include "worker/spy_methods.h"
#include "worker/tiny_zoos.h"
#include "zoo/pack_digest.h"

namespace fusegrid {
namespace {

using testing::HasSubstr;

class GridExecutorTest : public TinyZoos {
 protected:
  static void SetUpTestSuite() {
    TinyZoos::SetUpTestSuite();
    register_spies();
  }
  GridExecutorTest() {
    spy_fuses = 0;
    spy_must_fail = false;
  }

  std::unique_ptr<Executor> executor(const std::map<std::string, SeenPack>& packs = {},
                                     const std::map<std::string, std::string>& bindings = {},
                                     const std::string& precision = "fp32") {
    const nlohmann::json settings{
        {"zoos",
         {{"embedded-tiny", zoo_folder().string()}, {"other-tiny", zoo_folder("other-tiny").string()}}},
        {"packs", packs},
        {"bindings", bindings},
        {"batch", 4},
        {"splits", {"val", "test"}},
        {"validation", -1},
        {"precision", precision},
        {"statistics", (copy() / "statistics").string()},
        {"statistics_disk_bytes", int64_t{1} << 30},
        {"memory_limit_bytes", 0},
        {"shards", 1}};
    return executor_registry().at("grid")({settings, "cpu", 1, &progress_});
  }
  // A result without its costs, which differ from run to run.
  static std::string content(Result result) {
    result.costs.clear();
    return nlohmann::json(result).dump();
  }

  Progress progress_;
};

TEST_F(GridExecutorTest, cells_in_any_order_give_what_each_gives_alone) {
  const std::vector<Cell> cells{tiny_cell("simple_average"),
                                tiny_cell("simple_average", "bars", "contrast-5"),
                                tiny_cell("spy_on_test_inputs", "rows", "contrast-5"),
                                tiny_cell("simple_average", "rows", "clean", 1),
                                tiny_cell("spy_on_test_inputs", "rows"),
                                tiny_cell("individual", "rows", "clean", 0, "other-tiny"),
                                tiny_cell("individual", "rows"),
                                tiny_cell("simple_average", "rows", "contrast-5")};
  const auto together = executor();
  for (const Cell& cell : cells) {
    const Result result = together->run(cell.name(), progress_);
    EXPECT_EQ(result.status, Status::kValid) << cell.name() << ": " << result.reason;
    EXPECT_EQ(content(result), content(executor()->run(cell.name(), progress_))) << cell.name();
  }
}

TEST_F(GridExecutorTest, a_merge_is_timed_in_its_first_cell) {
  const auto grid = executor();
  const Result first = grid->run(tiny_cell("spy").name(), progress_);
  const Result second = grid->run(tiny_cell("spy", "rows").name(), progress_);
  EXPECT_EQ(first.costs.count("load_s") + first.costs.count("fuse_s") + first.costs.count("evaluate_s"), 3U);
  EXPECT_EQ(second.costs.count("load_s") + second.costs.count("fuse_s"), 0U);
  EXPECT_EQ(second.costs.count("evaluate_s"), 1U);
  EXPECT_EQ(second.facts, first.facts);
  EXPECT_EQ(spy_fuses, 1);
}

TEST_F(GridExecutorTest, tells_what_must_not_be_trusted) {
  const Result broken = executor()->run(tiny_cell("spy_not_finite").name(), progress_);
  EXPECT_EQ(broken.status, Status::kInvalid);
  EXPECT_THAT(broken.reason, HasSubstr("not finite"));
  nlohmann::json zoo = nlohmann::json::parse(read_text(zoo_folder() / "zoo.json"));
  zoo["replicates"][0]["scores"]["bars/bars/test/accuracy"] = 0.123;
  write_text(zoo_folder() / "zoo.json", zoo.dump());
  const Result expert = executor()->run(tiny_cell("individual").name(), progress_);
  EXPECT_EQ(expert.status, Status::kInvalid);
  EXPECT_THAT(expert.reason, HasSubstr("0.123"));
  EXPECT_EQ(executor()->run(tiny_cell("individual", "rows").name(), progress_).status, Status::kValid);
}

TEST_F(GridExecutorTest, recorded_scores_judge_passes_of_float32_alone) {
  nlohmann::json zoo = nlohmann::json::parse(read_text(zoo_folder() / "zoo.json"));
  zoo["replicates"][0]["scores"]["bars/bars/test/accuracy"] = 0.123;
  write_text(zoo_folder() / "zoo.json", zoo.dump());
  const auto status = [&](const std::string& precision) {
    return executor({}, {}, precision)->run(tiny_cell("individual").name(), progress_).status;
  };
  EXPECT_EQ(status("fp32"), Status::kInvalid);
  EXPECT_EQ(status("tf32"), Status::kInvalid);
  EXPECT_EQ(status("bf16"), Status::kValid);
}

// "bars" is made to own both tasks: the spy is that expert, whatever the task.
TEST_F(GridExecutorTest, a_task_is_answered_by_the_expert_that_owns_it) {
  nlohmann::json zoo = nlohmann::json::parse(read_text(zoo_folder() / "zoo.json"));
  zoo["experts"] = nlohmann::json::parse(
      R"([{"name": "rows", "tasks": []}, {"name": "bars", "tasks": ["bars", "rows"]}])");
  write_text(zoo_folder() / "zoo.json", zoo.dump());
  const Cell owner = tiny_cell("spy", "rows", "clean", 0, "embedded-tiny", "bars");
  const Result own = executor()->run(tiny_cell("individual", "rows").name(), progress_);
  const Result expected = executor()->run(owner.name(), progress_);
  EXPECT_EQ(own.status, Status::kValid) << own.reason;
  ASSERT_EQ(own.predictions.size(), 2U);
  EXPECT_EQ(own.predictions[1].classes, expected.predictions[1].classes);
  EXPECT_EQ(own.metrics[1].value, expected.metrics[1].value);
}

TEST_F(GridExecutorTest, goes_on_after_a_cell_that_throws) {
  const auto grid = executor();
  const std::string before = content(grid->run(tiny_cell("simple_average").name(), progress_));
  spy_must_fail = true;
  EXPECT_THROW(grid->run(tiny_cell("spy").name(), progress_), std::runtime_error);
  spy_must_fail = false;
  EXPECT_EQ(content(grid->run(tiny_cell("simple_average").name(), progress_)), before);
  EXPECT_EQ(grid->run(tiny_cell("spy").name(), progress_).costs.count("fuse_s"), 1U);
}

TEST_F(GridExecutorTest, a_model_that_changed_since_the_zoo_was_made_is_no_result) {
  fs::copy(model("experts/rows") / "model.safetensors", model("experts/bars") / "model.safetensors",
           fs::copy_options::overwrite_existing);
  try {
    executor()->run(tiny_cell("simple_average").name(), progress_);
    FAIL() << "took another model";
  } catch (const InputError& error) {  // which ends the run, once
    EXPECT_EQ(error.code(), ExitCode::kDataCorrupt);
  }
}

// A pack of gigabytes is hashed by who starts the run; executors look at its stamp.
TEST_F(GridExecutorTest, a_pack_is_read_again_only_where_it_changed) {
  nlohmann::json zoo = nlohmann::json::parse(read_text(zoo_folder() / "zoo.json"));
  const fs::path pack = zoo_folder() / "pack.h5";
  fs::copy_file(zoo["pack"].get<std::string>(), pack);
  zoo["pack"] = "pack.h5";
  write_text(zoo_folder() / "zoo.json", zoo.dump());
  const std::string cell = tiny_cell("simple_average").name();
  const std::string digest = TaskPack(pack).sha256();
  const std::map<std::string, SeenPack> seen{{"embedded-tiny", {pack_stamp(pack), digest}}};
  const std::map<std::string, std::string> bindings{{"embedded-tiny/pack", digest}};
  EXPECT_EQ(executor(seen, bindings)->run(cell, progress_).status, Status::kValid);
  EXPECT_EQ(executor({}, bindings)->run(cell, progress_).status, Status::kValid) << "nothing was handed over";
  // only who does not read it believes this
  const std::map<std::string, SeenPack> believed{{"embedded-tiny", {pack_stamp(pack), "believed"}}};
  EXPECT_EQ(executor(believed, {{"embedded-tiny/pack", "believed"}})->run(cell, progress_).status,
            Status::kValid);
  // as many bytes, at another time
  test::write_tiny_pack(pack, 21);
  ASSERT_EQ(fs::file_size(pack), static_cast<uintmax_t>(seen.at("embedded-tiny").stamp.size));
  EXPECT_THROW(executor(seen, bindings)->run(cell, progress_), InputError);
}

}  // namespace
}  // namespace fusegrid
