#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/hf_folder.h"
#include "zoo/folders.h"
#include "zoo/pairs_world.h"
#include "zoo/recipe.h"

namespace fusegrid::test {
namespace {

using Kind = ZooItem::Kind;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class TwoTowersRecipe : public testing::Test {
 protected:
  TwoTowersRecipe() : plan_(pairs_plan(world_.path())) {}

  Result make(Kind kind, const std::string& expert = "", int64_t seed = 0) const {
    return make_item(plan_, {plan_.name(), seed, kind, expert}, at::kCPU);
  }

  TemporaryFolder world_;
  ZooPlan plan_;
};

TEST_F(TwoTowersRecipe, a_zoo_has_experts_of_the_first_pairs_and_heads_of_all_tasks) {
  const Zoo zoo = make_tiny_zoo(plan_);
  EXPECT_THAT(zoo.expert_names(), ElementsAre("near", "far"));
  EXPECT_THAT(zoo.tasks, ElementsAre("near", "far", "plain", "asked"));
  EXPECT_THAT(verify(zoo), IsEmpty());
  const HfFolder base(plan_.folder / "seed-0/base");
  EXPECT_EQ(base.config().at("merged_towers"), "both");
  const Network network = load_network(zoo, zoo.replicate(0), at::kCPU);
  EXPECT_EQ(network.readout("asked").outputs(), 2);
}

TEST_F(TwoTowersRecipe, experts_learn_to_find_their_pairs) {
  plan_.overrides["base_steps"] = 60;
  plan_.overrides["expert_steps"] = 60;
  plan_.overrides["expert_lr"] = 3e-3;
  const Zoo zoo = make_tiny_zoo(plan_);
  // chance: six texts
  EXPECT_GT(zoo.replicates[0].scores.at("near/near/test/recall_1"), 0.5);
  EXPECT_GT(zoo.replicates[0].scores.at("far/far/test/recall_1"), 0.5);
}

TEST_F(TwoTowersRecipe, a_base_meets_the_tasks_of_experts_as_often_as_it_is_told) {
  const Result some = make(Kind::kBase);
  EXPECT_EQ(make(Kind::kBase).facts, some.facts) << "the same bits";
  plan_.overrides["exposure"] = 0;
  const Result never = make(Kind::kBase);
  plan_.overrides["exposure"] = 1;
  const Result always = make(Kind::kBase);
  EXPECT_NE(never.facts, some.facts);
  EXPECT_NE(always.facts, some.facts);
  EXPECT_NE(always.facts, never.facts);
}

TEST_F(TwoTowersRecipe, what_it_cannot_train_on_is_refused) {
  plan_.overrides["seen"] = 3;
  EXPECT_THAT(message_of<ConfigError>([&] { check_tasks(plan_); }), HasSubstr("set seen to less"));
  plan_.overrides["seen"] = 2;
  plan_.overrides["head_width"] = 5;
  EXPECT_THAT(message_of<ConfigError>([&] { check_tasks(plan_); }),
              HasSubstr("head_width must divide width"));
}

}  // namespace
}  // namespace fusegrid::test
