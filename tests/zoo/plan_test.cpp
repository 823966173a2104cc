#include "zoo/plan.h"

#include <gtest/gtest.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

TEST(ZooItemTest, NamesReadBack) {
  for (const std::string name :
       {"embedded-small/seed=0/base", "z/seed=12/expert=mnist", "z/seed=3/multitask"}) {
    EXPECT_EQ(ZooItem::parse(name).name(), name);
  }
  for (const std::string name : {"", "z/seed=0", "z/seed=0/bases", "z/seed=x/base", "z/seed=00/base",
                                 "z/seed=0/expert=", "/seed=0/base"}) {
    EXPECT_THROW(ZooItem::parse(name), ConfigError) << name;
  }
}

TEST(ZooPlanTest, SettingsReadBackAndAreChecked) {
  ZooPlan plan{.recipe = "embedded",
               .scale = "small",
               .suite = "embedded8",
               .tasks = {"mnist"},
               .more_tasks = {{"digits", "mnist"}},
               .folder = "zoos/z",
               .pack = "p",
               .pool = "q",
               .published_base = "b",
               .multitask = false};
  plan.overrides = {{"expert_steps", 3}};
  EXPECT_EQ(to_settings(parse_settings(to_settings(plan))), to_settings(plan));
  nlohmann::json settings = to_settings(plan);
  settings["pol"] = "typing error";
  EXPECT_THROW(parse_settings(settings), ConfigError);
  settings = to_settings(plan);
  settings.erase("pack");
  EXPECT_THROW(parse_settings(settings), ConfigError);
  settings = to_settings(plan);
  settings["overrides"]["expert_steps"] = -1;
  EXPECT_THROW(parse_settings(settings), ConfigError);
  settings = to_settings(plan);
  settings["recipe"] = "embeded";
  EXPECT_THROW(parse_settings(settings), ConfigError);
}

TEST(ZooPlanTest, ItemsAreABaseThenExpertsAndMultitask) {
  ZooPlan plan{.recipe = "embedded",
               .scale = "small",
               .suite = "tiny",
               .tasks = {"bars", "rows"},
               .folder = "zoos/z",
               .pack = "p",
               .pool = "q"};
  EXPECT_EQ(base_items(plan, {0, 1}).size(), 2U);
  const auto items = model_items(plan, {4});
  ASSERT_EQ(items.size(), 3U);
  EXPECT_EQ(items[0].name(), "z/seed=4/expert=bars");
  EXPECT_EQ(items[2].name(), "z/seed=4/multitask");
  plan.multitask = false;
  EXPECT_EQ(model_items(plan, {4, 5}).size(), 4U);
  EXPECT_EQ(item_folder(plan, items[0]), "zoos/z/seed-4/experts/bars");
  EXPECT_EQ(own_heads_file(plan, items[0]), "zoos/z/seed-4/experts/bars/head.safetensors");
  EXPECT_EQ(own_heads_file(plan, items[2]), "zoos/z/seed-4/multitask/heads.safetensors");
}

}  // namespace
}  // namespace fusegrid
