// Making an embedded zoo: which models there are to train, how one is made, and the description of the
// result. `fusegrid zoo build` runs the items as two campaigns, bases first: an item of the second reads its
// base.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include "core/result.h"
#include "zoo/recipe.h"
#include "zoo/training.h"
#include "zoo/zoo.h"

namespace fusegrid {

// What is to be made, the same for every worker.
struct ZooPlan {
  std::string scale = "small";
  std::string suite = "embedded8";
  std::vector<std::string> tasks;                       // of the suite, in its order
  std::filesystem::path folder;                         // of the zoo, for example zoos/embedded-small
  std::filesystem::path pack;                           // task pack
  std::filesystem::path pool;                           // pretraining pool; needed for bases only
  nlohmann::json overrides = nlohmann::json::object();  // of the recipe

  std::string name() const { return folder.filename().string(); }
};
// The settings of a campaign of kind "zoo", both ways. Throws ConfigError naming a setting that is unknown,
// missing or of the wrong type.
nlohmann::json to_settings(const ZooPlan& plan);
ZooPlan parse_settings(const nlohmann::json& settings);

// One model to make. Its text is its identity: "embedded-small/seed=0/base", ".../expert=mnist",
// ".../multitask".
struct ZooItem {
  enum class Kind { kBase, kExpert, kMultitask };
  std::string zoo;
  int64_t seed = 0;
  Kind kind = Kind::kBase;
  std::string task;  // of an expert

  std::string name() const;
  // Throws ConfigError where `name` is not the text of an item.
  static ZooItem parse(const std::string& name);
};

// Puts the bases that come with the program (data_folder()/zoo/embedded-<scale>/seed-<seed>) into the zoo
// where it has none and the plan's overrides concern experts and the multi-task model only. Returns the seeds
// whose base is still missing.
std::vector<int64_t> place_bases(const ZooPlan& plan, const std::vector<int64_t>& seeds);
// The items of a campaign, and an estimate of their seconds on one CPU core.
std::vector<ZooItem> base_items(const ZooPlan& plan, const std::vector<int64_t>& seeds);
std::vector<ZooItem> model_items(const ZooPlan& plan, const std::vector<int64_t>& seeds);
double estimated_seconds(const ZooPlan& plan, const ZooItem& item);
// Where the model of an item is.
std::filesystem::path item_folder(const ZooPlan& plan, const ZooItem& item);
// Whether a number of the recipe concerns experts and multi-task models only, and no base.
bool concerns_experts_only(const std::string& number);

// ConfigError where making `to_train` by this plan would replace models that a finished zoo or later models rest on, or
// put models of another recipe beside those that are there. `recorded`: names of the items with a valid result.
void check_existing_models(const ZooPlan& plan, const std::vector<int64_t>& seeds,
                           const std::vector<ZooItem>& to_train, const std::set<std::string>& recorded);

// Trains one item and writes its folder (config.json, preprocessor_config.json, model.safetensors,
// provenance.json); a base has heads.safetensors beside it. Whatever an earlier attempt left is replaced. The
// result has accuracy and loss on val and test ("accuracy/<task>" for models of several tasks, "accuracy"
// then is the mean over tasks) and the fact weights_sha256.
Result make_item(const ZooPlan& plan, const ZooItem& item, at::Device device, const OnStep& on_step = {});

// Writes zoo.json for the seeds, whose models are all there. `results` of their items give digests and
// scores; a base without result (placed) is hashed. ConfigError naming an item that has no valid result.
Zoo finish(const ZooPlan& plan, const std::vector<int64_t>& seeds, const std::vector<Result>& results);

}  // namespace fusegrid
