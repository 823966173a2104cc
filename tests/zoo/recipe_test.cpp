#include "zoo/recipe.h"

#include <filesystem>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "support/source_folder.h"
#include "tasks/suite.h"

namespace fusegrid {
namespace {

using testing::AnyOf;
using testing::HasSubstr;

std::string refusal(const ZooPlan& plan) {
  try {
    options_of(plan);
    return "";
  } catch (const ConfigError& error) {
    return error.what();
  }
}

TEST(RecipeRegistry, NamesAreTheFileStems) {
  std::set<std::string> stems;
  for (const auto& entry : std::filesystem::directory_iterator(source_folder() / "src/zoo/recipes")) {
    stems.insert(entry.path().stem().string());
  }
  const auto names = recipe_registry().names();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()), stems);
}

TEST(RecipeRegistry, CardsAreComplete) {
  for (const auto& name : recipe_registry().names()) {
    const RecipeCard& card = recipe_registry().at(name).card;
    EXPECT_EQ(card.name, name);
    EXPECT_FALSE(card.doc.empty() || card.scales.empty()) << name;
    EXPECT_EQ(card.pool.empty(), card.pool_maker.empty()) << name;
    EXPECT_TRUE(card.pool.empty() || (card.has_bases && card.bases.empty())) << name;
    if (!card.bases.empty()) {
      for (const RecipeScale& scale : card.scales) {
        EXPECT_NO_THROW(recipe_registry().at(card.bases).scale(scale.name)) << name;
      }
    }
    for (const RecipeScale& scale : card.scales) {
      EXPECT_TRUE(suite_registry().contains(scale.suite)) << name << " " << scale.name;
      EXPECT_FALSE(scale.doc.empty()) << name << " " << scale.name;
    }
  }
}

// The packs that come with the program are those that the recipes train on.
TEST(RecipeRegistry, SuitesAreThoseOfThePacks) {
  for (const auto& name : recipe_registry().names()) {
    const Recipe& recipe = recipe_registry().at(name);
    for (const RecipeScale& scale : recipe.card.scales) {
      const Suite& suite = suite_registry().at(scale.suite);
      const std::filesystem::path path = source_folder() / "data" / suite.pack;
      if (!std::filesystem::exists(path)) {
        EXPECT_THAT(suite.pack, AnyOf("composed.h5", "embedded30.h5", "glyphs.h5", "label_spaces.h5",
                                      "language_model.h5", "pairs.h5", "scenes.h5", "text_medium.h5"))
            << "those that users make";
        continue;
      }
      const TaskPack pack(path);
      if (suite.name != "fashion") {  // one task of another suite's
        EXPECT_EQ(pack.suite(), suite.name);
      }
      std::vector<std::string> tasks;
      for (const TaskCard& card : suite.tasks) {
        const TaskInfo& task = pack.task(card.name);
        if (task_kind(task.kind).has_classes()) {
          EXPECT_EQ(task.class_names.size(), static_cast<size_t>(card.classes)) << card.name;
        }
        tasks.push_back(card.name);
      }
      EXPECT_NO_THROW(recipe.check_pack(scale, nlohmann::json::object(), pack, tasks))
          << name << " " << scale.name;
    }
  }
}

// Options have different names, read back from what they are listed as, and say what they are.
TEST(RecipeRegistry, OptionsReadBack) {
  for (const auto& name : recipe_registry().names()) {
    for (const RecipeScale& scale : recipe_registry().at(name).card.scales) {
      ZooPlan plan{.recipe = name, .scale = scale.name};
      std::set<std::string> seen;
      const auto described = described_recipe(plan);
      for (const RecipeOption& option : options_of(plan)) {
        EXPECT_TRUE(seen.insert(option.param.name).second) << option.param.name;
        EXPECT_FALSE(option.param.doc.empty()) << option.param.name;
        plan.overrides[option.param.name] = option.param.value;
        EXPECT_FALSE(scale.published_base && option.of_base) << option.param.name;
      }
      EXPECT_EQ(described_recipe(plan), described) << name << " " << scale.name;
    }
  }
}

TEST(RecipeOptions, AreThoseOfTheScaleUnlessTheyAreReplaced) {
  const auto option = [](const ZooPlan& plan, const std::string& name) {
    return described_recipe(plan).at(name);
  };
  EXPECT_EQ(option({.recipe = "embedded", .scale = "large"}, "width"), 512);
  EXPECT_EQ(option({.recipe = "text", .scale = "medium"}, "expert_lr"), 5e-4);
  EXPECT_EQ(option({.recipe = "text", .scale = "small"}, "head"), "joint");
  const ZooPlan plan{
      .recipe = "text", .scale = "small", .overrides = {{"head", "probe"}, {"expert_steps", 7}}};
  EXPECT_EQ(option(plan, "head"), "probe");
  EXPECT_EQ(option(plan, "expert_steps"), 7);
}

TEST(RecipeOptions, AreChecked) {
  const auto with = [](const std::string& recipe, const nlohmann::json& overrides) {
    return refusal({.recipe = recipe, .scale = "small", .overrides = overrides});
  };
  EXPECT_THAT(with("embedded", {{"expert_step", 7}}), HasSubstr("expert_step"));
  EXPECT_THAT(with("embedded", {{"expert_steps", 0}}), HasSubstr("expert_steps"));
  EXPECT_THAT(with("embedded", {{"expert_steps", "many"}}), HasSubstr("many"));
  EXPECT_THAT(with("embedded", {{"head_width", 7}}), HasSubstr("must divide width"));
  EXPECT_THAT(with("text", {{"head_width", 7}}), HasSubstr("must divide width"));
  EXPECT_THAT(with("text", {{"head", "cosine"}}), HasSubstr("joint"));
  EXPECT_THAT(with("text", nlohmann::json::array()), HasSubstr("must be an object"));
  EXPECT_THAT(with("txt", nlohmann::json::object()), HasSubstr("did you mean 'text'?"));
  EXPECT_THAT(refusal({.recipe = "text", .scale = "large"}), HasSubstr("small, medium, minilm"));
  EXPECT_THAT(refusal({.recipe = "text", .scale = "minilm", .overrides = {{"base_steps", 5}}}),
              HasSubstr("base_steps"))
      << "its bases are published";
}

}  // namespace
}  // namespace fusegrid
