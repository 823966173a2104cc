#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "zoo/folders.h"
#include "zoo/recipe.h"
#include "zoo/support.h"

namespace fusegrid::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

ZooPlan runs_plan(const fs::path& folder) {
  ZooPlan plan = tiny_plan(folder);
  plan.recipe = "independent";
  plan.scale = "mlp64";
  plan.tasks = {"bars"};
  plan.folder = folder / "zoos" / "independent-tiny";
  plan.overrides = {{"image_size", 8}, {"width", 6}, {"runs", 2}, {"steps", 60}, {"batch", 10}, {"lr", 0.1}};
  return plan;
}

class IndependentRecipe : public testing::Test {
 protected:
  TemporaryFolder folder_;
  ZooPlan plan_ = runs_plan(folder_.path());
};

TEST_F(IndependentRecipe, MakesModelsOfOneTaskWithoutABase) {
  EXPECT_THAT(base_items(plan_, {0}), IsEmpty());
  const Zoo zoo = make_tiny_zoo(plan_, {0, 3});
  EXPECT_THAT(zoo.expert_names(), ElementsAre("run0", "run1"));
  EXPECT_THAT(zoo.tasks, ElementsAre("bars"));
  EXPECT_THAT(zoo.experts_for("bars"), ElementsAre("run0", "run1"));
  EXPECT_THAT(zoo.owners({"run0", "run1"}), IsEmpty());
  EXPECT_EQ(zoo.pooling, Pooling::kNone);
  ASSERT_EQ(zoo.replicates.size(), 2U);
  const Replicate& first = zoo.replicates[0];
  EXPECT_TRUE(first.base.empty());
  EXPECT_TRUE(first.heads.empty());
  EXPECT_FALSE(first.multitask);
  EXPECT_GT(first.scores.at("run0/bars/test/accuracy"), 0.6) << "three classes";
  EXPECT_EQ(verify(zoo), std::vector<std::string>());
  EXPECT_EQ(std::set<std::string>({first.digests.at("expert/run0"), first.digests.at("expert/run1"),
                                   zoo.replicates[1].digests.at("expert/run0")})
                .size(),
            3U)
      << "runs and seeds have first values of their own";
  EXPECT_EQ(Zoo::load(zoo.folder).replicates[0].digests, first.digests);
}

TEST_F(IndependentRecipe, GivesTheSameBitsTwice) {
  const ZooItem item{plan_.name(), 0, ZooItem::Kind::kExpert, "run1"};
  const auto once = make_item(plan_, item, at::kCPU).facts;
  EXPECT_EQ(make_item(plan_, item, at::kCPU).facts, once);
}

TEST_F(IndependentRecipe, TrainsEachRunOnHalfOfTheClasses) {
  plan_.overrides["classes"] = "halves";
  const Zoo zoo = make_tiny_zoo(plan_, {0});
  const double first = zoo.replicates[0].scores.at("run0/bars/test/accuracy"),
               second = zoo.replicates[0].scores.at("run1/bars/test/accuracy");
  // of three classes the first half has one or two, and nothing else is ever answered
  EXPECT_LT(first, 0.75);
  EXPECT_LT(second, 0.75);
  EXPECT_GT(first + second, 0.6);
  using Classes = std::map<std::string, std::vector<std::string>>;
  EXPECT_EQ(zoo.expert("run0").classes, (Classes{{"bars", {"a", "b"}}}));
  EXPECT_EQ(zoo.expert("run1").classes, (Classes{{"bars", {"c"}}}));
  EXPECT_EQ(verify(zoo), std::vector<std::string>());
}

TEST_F(IndependentRecipe, TrainsSmallTransformers) {
  plan_.scale = "vit32";
  plan_.overrides = {{"image_size", 8}, {"width", 16}, {"runs", 2},
                     {"steps", 80},     {"batch", 16}, {"lr", 0.01}};
  const Zoo zoo = make_tiny_zoo(plan_, {0});
  EXPECT_GT(zoo.replicates[0].scores.at("run0/bars/test/accuracy"), 0.6) << "three classes";
  EXPECT_EQ(zoo.replicates[0].scores.count("run1/bars/test/accuracy"), 1U);
}

TEST_F(IndependentRecipe, StoresNarrowRunsAmongTheUnitsOfWideOnes) {
  for (const std::string scale : {"mlp64", "vgg4", "resnet8"}) {
    plan_.scale = scale;
    plan_.folder = folder_.path() / "zoos" / scale;
    plan_.overrides = {{"image_size", 8}, {"width", 6}, {"narrow", 3},
                       {"runs", 2},       {"steps", 4}, {"batch", 10}};
    const Zoo zoo = make_tiny_zoo(plan_, {0});
    ZooPlan alone = plan_;
    alone.folder = folder_.path() / "zoos" / (scale + "-alone");
    alone.overrides["width"] = 3;
    alone.overrides["narrow"] = 0;
    const Zoo its_own = make_tiny_zoo(alone, {0});
    const std::string score = "run1/bars/test/accuracy";
    EXPECT_EQ(zoo.replicates[0].scores.at(score), its_own.replicates[0].scores.at(score)) << scale;
    const Weights among =
        load_replicate(zoo, zoo.replicates[0], {"run1"}, false, at::kCPU).experts.at("run1");
    const Weights alone_run =
        load_replicate(its_own, its_own.replicates[0], {"run1"}, false, at::kCPU).experts.at("run1");
    for (const auto& [name, tensor] : alone_run) {
      at::Tensor block = among.at(name);
      const at::Tensor all = block;
      for (int64_t axis = 0; axis < tensor.dim(); ++axis) {
        block = block.narrow(axis, 0, tensor.size(axis));
      }
      EXPECT_TRUE(block.equal(tensor)) << scale << " " << name;
      if (!name.ends_with("running_var")) {
        EXPECT_EQ((all != 0).sum().item<int64_t>(), (tensor != 0).sum().item<int64_t>())
            << scale << " " << name;
      }
    }
  }
}

TEST_F(IndependentRecipe, RefusesNarrowRunsThatAreWider) {
  plan_.overrides["narrow"] = 7;
  EXPECT_THAT(message_of<ConfigError>([&] {
                make_item(plan_, {plan_.name(), 0, ZooItem::Kind::kExpert, "run1"}, at::kCPU);
              }),
              HasSubstr("choose less for narrow than for width"));
}

TEST_F(IndependentRecipe, RefusesABaseAndTasksThatOneHeadCannotAnswer) {
  plan_.published_base = folder_.path();
  EXPECT_THAT(message_of<ConfigError>([&] { place_bases(plan_, {0}); }), HasSubstr("start from no base"));
  write_text_pack(plan_.pack);
  EXPECT_THAT(message_of<ConfigError>([&] { check_tasks(plan_); }),
              HasSubstr("trains one head on classified images, but task 'bars'"));
}

TEST_F(IndependentRecipe, HasAScaleOfEveryWidth) {
  const Recipe& recipe = recipe_registry().at("independent");
  for (const RecipeScale& scale : recipe.card.scales) {
    nlohmann::json widths;
    for (const RecipeOption& option : recipe.options(scale, nlohmann::json::object())) {
      widths[option.param.name] = option.param.value;
    }
    EXPECT_THAT(scale.name, testing::EndsWith(widths["width"].get<std::string>()));
    EXPECT_THAT(widths["net"].get<std::string>(), testing::StartsWith(scale.name.substr(0, 3)));
  }
}

}  // namespace
}  // namespace fusegrid::test
