#include "zoo/build.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/hf_folder.h"
#include "core/errors.h"
#include "support.h"

namespace fusegrid::test {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsSupersetOf;

class Build : public testing::Test {
 protected:
  ZooItem item(ZooItem::Kind kind, const std::string& task = "") const {
    return {plan_.name(), 0, kind, task};
  }
  TemporaryFolder world_;
  ZooPlan plan_ = tiny_plan(world_.path());
};

TEST_F(Build, EveryItemHasAnEstimate) {
  for (const auto& items : {base_items(plan_, {0}), model_items(plan_, {0})}) {
    for (const ZooItem& each : items) {
      EXPECT_GT(estimated_seconds(plan_, each), 0) << each.name();
    }
  }
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
  const auto names = [](const Result& result) {
    std::vector<std::string> all;
    for (const Metric& metric : result.metrics) {
      EXPECT_EQ(metric.count, metric.name.ends_with("/bars") || metric.name.ends_with("/rows") ||
                                      result.name.ends_with("rows")
                                  ? 9
                                  : 18);
      all.push_back(metric.split + "/" + metric.name);
    }
    return all;
  };
  for (const std::string metric : {"accuracy", "loss", "macro_f1", "mcc"}) {
    for (const std::string split : {"val/", "test/"}) {
      EXPECT_THAT(names(expert), Contains(split + metric));
      EXPECT_THAT(names(base),
                  IsSupersetOf({split + metric, split + metric + "/bars", split + metric + "/rows"}));
    }
  }
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
