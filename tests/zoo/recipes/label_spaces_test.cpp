#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "zoo/recipe.h"
#include "zoo/token_recipe.h"

namespace fusegrid::test {
namespace {

ZooPlan label_spaces_plan(const fs::path& folder) {
  ZooPlan plan = word_plan(folder);
  plan.recipe = "label_spaces";
  plan.overrides = {
      {"expert_steps", 10}, {"expert_batch", 8}, {"multitask_steps", 10}, {"multitask_batch", 4}};
  return plan;
}

class LabelSpacesRecipe : public TokenRecipe {
 protected:
  static void SetUpTestSuite() { made_ = new MadeBaseOnce(word_plan); }
  static void TearDownTestSuite() { delete made_; }
  LabelSpacesRecipe() : TokenRecipe(label_spaces_plan, *made_) {}

  static inline MadeBaseOnce* made_ = nullptr;
};

TEST_F(LabelSpacesRecipe, EachExpertBringsAnAffineHeadOfItsOwn) {
  const Zoo zoo = make_zoo();
  EXPECT_EQ(zoo.expert_names(), plan_.tasks);
  EXPECT_THAT(verify(zoo), testing::IsEmpty());
  const Network network = load_network(zoo, zoo.replicate(0), at::kCPU);
  EXPECT_TRUE(network.readout("shapes").is_affine());
  EXPECT_EQ(network.readout("shapes").pooling(), Pooling::kMean);
}

TEST_F(LabelSpacesRecipe, RefusesImages) {
  write_tiny_pack(plan_.pack);
  plan_.tasks = {"bars", "rows"};
  EXPECT_THAT(refusal_of([&] { check_tasks(plan_); }), testing::HasSubstr("label_spaces"));
}

}  // namespace
}  // namespace fusegrid::test
