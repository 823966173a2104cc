#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "zoo/recipe.h"
#include "zoo/support.h"

namespace fusegrid::test {
namespace {

using testing::ElementsAre;

ZooPlan run_plan(const fs::path& folder) {
  ZooPlan plan = tiny_plan(folder);
  plan.recipe = "trajectory";
  plan.scale = "mlp256";
  plan.tasks = {"bars"};
  plan.folder = folder / "zoos" / "trajectory-tiny";
  plan.overrides = {{"image_size", 8}, {"width", 6}, {"budget", 40}, {"cycles", 3}, {"batch", 10}};
  return plan;
}

TEST(TrajectoryRecipe, TakesCheckpointsAtTheEndsOfCycles) {
  const TemporaryFolder folder;
  const Zoo zoo = make_tiny_zoo(run_plan(folder.path()));
  EXPECT_THAT(zoo.expert_names(), ElementsAre("step26", "step28", "step30"));
  EXPECT_EQ(verify(zoo), std::vector<std::string>());
  const auto& digests = zoo.replicates[0].digests;
  EXPECT_NE(digests.at("expert/step26"), digests.at("expert/step28"));
}

// A checkpoint is the same model whatever comes behind it, so that a run can be made longer.
TEST(TrajectoryRecipe, ACheckpointIsAPartOfALongerRun) {
  const TemporaryFolder folder;
  ZooPlan plan = run_plan(folder.path());
  const ZooItem item{plan.name(), 0, ZooItem::Kind::kExpert, "step28"};
  const auto of_three = make_item(plan, item, at::kCPU).facts;
  plan.overrides["cycles"] = 9;
  EXPECT_EQ(make_item(plan, item, at::kCPU).facts, of_three);
  plan.overrides["tail"] = "cyclic";
  EXPECT_NE(make_item(plan, item, at::kCPU).facts, of_three);
}

}  // namespace
}  // namespace fusegrid::test
