#include "zoo/build.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/hf_folder.h"
#include "core/errors.h"
#include "support.h"

namespace fusegrid::test {
namespace {

using testing::HasSubstr;

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
  ZooPlan plan{.tasks = {"mnist"}, .folder = "zoos/z", .pack = "p", .pool = "q"};
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
}

class Build : public testing::Test {
 protected:
  ZooItem item(ZooItem::Kind kind, const std::string& task = "") const {
    return {plan_.name(), 0, kind, task};
  }
  TemporaryFolder world_;
  ZooPlan plan_ = tiny_plan(world_.path());
};

TEST_F(Build, ItemsAreABaseThenExpertsAndMultitask) {
  EXPECT_EQ(base_items(plan_, {0, 1}).size(), 2U);
  const auto items = model_items(plan_, {4});
  ASSERT_EQ(items.size(), 3U);
  EXPECT_EQ(items[0].name(), "embedded-tiny/seed=4/expert=bars");
  EXPECT_EQ(items[2].name(), "embedded-tiny/seed=4/multitask");
  EXPECT_GT(estimated_seconds(plan_, items[0]), 0);
}

TEST_F(Build, AnItemIsALoadableFolderWithItsOrigin) {
  const Result base = make_item(plan_, item(ZooItem::Kind::kBase), at::kCPU);
  const Result expert = make_item(plan_, item(ZooItem::Kind::kExpert, "rows"), at::kCPU);

  const HfFolder folder(plan_.folder / "seed-0/experts/rows");
  EXPECT_EQ(folder.digest(), expert.facts.at("weights_sha256"));
  EXPECT_EQ(folder.preprocessor_config()->at("image_mean"), nlohmann::json({0.5, 0.5, 0.5}));
  const auto origin = nlohmann::json::parse(std::ifstream(folder.path() / "provenance.json"));
  EXPECT_EQ(origin.at("sources").at("base_sha256"), base.facts.at("weights_sha256"));
  EXPECT_EQ(origin.at("recipe").at("expert_steps"), 10);
  EXPECT_EQ(origin.at("device"), "cpu");
  ASSERT_EQ(expert.metrics.size(), 4U);  // accuracy and loss on val and test
  EXPECT_EQ(expert.metrics[0].count, 9);
  EXPECT_EQ(base.metrics.size(), 8U);  // also the accuracy of both tasks
}

TEST_F(Build, ASecondAttemptReplacesTheFirst) {
  const Result first = make_item(plan_, item(ZooItem::Kind::kBase), at::kCPU);
  const Result second = make_item(plan_, item(ZooItem::Kind::kBase), at::kCPU);
  EXPECT_EQ(first.facts, second.facts);
}

TEST_F(Build, WhatIsMissingIsNamed) {
  const auto message = [&](const ZooItem& wanted) {
    try {
      make_item(plan_, wanted, at::kCPU);
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(message(item(ZooItem::Kind::kExpert, "rows")), HasSubstr("make the bases first"));
  EXPECT_THAT(message(item(ZooItem::Kind::kExpert, "mnist")), HasSubstr("bars, rows"));
  fs::remove(plan_.pool);
  EXPECT_THAT(message(item(ZooItem::Kind::kBase)), HasSubstr("make_pretraining_pool.py"));
}

TEST_F(Build, ARecipeForImagesRefusesTasksOfTexts) {
  write_text_pack(plan_.pack);
  try {
    make_item(plan_, item(ZooItem::Kind::kBase), at::kCPU);
    ADD_FAILURE() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("task 'bars' of '" + plan_.pack.string() +
                                        "' is of the kind classify with tokens"));
  }
}

TEST_F(Build, AnIncompleteZooIsNotDescribed) {
  const Result base = make_item(plan_, item(ZooItem::Kind::kBase), at::kCPU);
  EXPECT_THROW(finish(plan_, {0}, {base}), ConfigError);
  EXPECT_FALSE(fs::exists(plan_.folder / "zoo.json"));
}

TEST_F(Build, ValAndTestDoNotInfluenceTraining) {
  const std::string before =
      make_item(plan_, item(ZooItem::Kind::kBase), at::kCPU).facts.at("weights_sha256");
  // the same training split with other val and test examples
  write_tiny_pack(plan_.pack, /*evaluation_seed=*/100);
  EXPECT_EQ(make_item(plan_, item(ZooItem::Kind::kBase), at::kCPU).facts.at("weights_sha256"), before);
}

TEST_F(Build, BasesThatComeWithTheProgramArePlaced) {
  make_item(plan_, item(ZooItem::Kind::kBase), at::kCPU);
  const fs::path data = world_.path() / "data";
  fs::create_directories(data / "zoo");
  fs::rename(plan_.folder, data / "zoo" / ("embedded-" + plan_.scale));
  ::setenv("FUSEGRID_DATA", data.c_str(), 1);
  ZooPlan plain = plan_;
  plain.overrides = {{"expert_steps", 5}};  // says nothing about bases

  EXPECT_EQ(place_bases(plan_, {0}), (std::vector<int64_t>{0}));  // another recipe: has to be trained
  EXPECT_EQ(place_bases(plain, {0, 1}), (std::vector<int64_t>{1}));
  EXPECT_TRUE(fs::exists(plan_.folder / "seed-0/base/model.safetensors"));
  EXPECT_TRUE(fs::exists(plan_.folder / "seed-0/heads.safetensors"));
  ::unsetenv("FUSEGRID_DATA");
}

}  // namespace
}  // namespace fusegrid::test
