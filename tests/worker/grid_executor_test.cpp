// The parts have tests of their own: here is what comes of them together.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "worker/executor.h"
#include "worker/spy_methods.h"
#include "worker/tiny_zoos.h"

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

  std::unique_ptr<Executor> executor() {
    const nlohmann::json settings{
        {"zoos",
         {{"embedded-tiny", zoo_folder().string()}, {"other-tiny", zoo_folder("other-tiny").string()}}},
        {"batch", 4},
        {"statistics", (copy() / "statistics").string()},
        {"memory_limit_bytes", 0},
        {"shards", 1}};
    return executor_registry().at("grid")({settings, "cpu", 1, &progress_});
  }
  // A result without its timings, which differ from run to run.
  static std::string content(Result result) {
    result.timings.clear();
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
  EXPECT_EQ(first.timings.count("load") + first.timings.count("fuse") + first.timings.count("evaluate"), 3U);
  EXPECT_EQ(second.timings.size(), 1U);
  EXPECT_EQ(second.facts, first.facts);
  EXPECT_EQ(spy_fuses, 1);
}

TEST_F(GridExecutorTest, tells_what_must_not_be_trusted) {
  const Result broken = executor()->run(tiny_cell("spy_not_finite").name(), progress_);
  EXPECT_EQ(broken.status, Status::kInvalid);
  EXPECT_THAT(broken.reason, HasSubstr("not finite"));
  nlohmann::json zoo = nlohmann::json::parse(read_text(zoo_folder() / "zoo.json"));
  zoo["replicates"][0]["scores"]["bars/test"] = 0.123;
  write_text(zoo_folder() / "zoo.json", zoo.dump());
  const Result expert = executor()->run(tiny_cell("individual").name(), progress_);
  EXPECT_EQ(expert.status, Status::kInvalid);
  EXPECT_THAT(expert.reason, HasSubstr("0.123"));
  EXPECT_EQ(executor()->run(tiny_cell("individual", "rows").name(), progress_).status, Status::kValid);
}

TEST_F(GridExecutorTest, goes_on_after_a_cell_that_throws) {
  const auto grid = executor();
  const std::string before = content(grid->run(tiny_cell("simple_average").name(), progress_));
  spy_must_fail = true;
  EXPECT_THROW(grid->run(tiny_cell("spy").name(), progress_), std::runtime_error);
  spy_must_fail = false;
  EXPECT_EQ(content(grid->run(tiny_cell("simple_average").name(), progress_)), before);
  EXPECT_EQ(grid->run(tiny_cell("spy").name(), progress_).timings.count("fuse"), 1U);
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

}  // namespace
}  // namespace fusegrid
