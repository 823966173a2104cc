// What is to be made of a zoo, and its models one by one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace fusegrid {

// A zoo to make, the same for every worker.
struct ZooPlan {
  std::string recipe;  // key of recipe_registry()
  std::string scale;   // one of the recipe's
  std::string suite = {};
  std::vector<std::string> tasks = {};  // of the suite, in its order: what models are trained on
  // Tasks of the suite that models are evaluated on alone, each with the task whose expert owns it.
  std::vector<std::pair<std::string, std::string>> more_tasks = {};
  std::filesystem::path folder = {};                    // of the zoo, for example zoos/embedded-small
  std::filesystem::path pack = {};                      // task pack
  std::filesystem::path pool = {};                      // pretraining pool; needed for bases only
  std::filesystem::path published_base = {};            // of scales whose bases are not trained: their folder
  bool multitask = true;                                // make the multi-task model, too
  nlohmann::json overrides = nlohmann::json::object();  // options of the recipe by name

  std::string name() const { return folder.filename().string(); }
  std::vector<std::string> all_tasks() const;  // tasks, and then more_tasks
  // The same of these experts alone.
  std::vector<std::string> owned_by(const std::vector<std::string>& experts) const;
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
  std::string expert;  // its name

  std::string name() const;
  // Throws ConfigError where `name` is not the text of an item.
  static ZooItem parse(const std::string& name);
};

// The items of a campaign: bases, where the recipe has any, and experts and multi-task models. ConfigError as
// recipe_of() and options_of().
std::vector<ZooItem> base_items(const ZooPlan& plan, const std::vector<int64_t>& seeds);
std::vector<ZooItem> model_items(const ZooPlan& plan, const std::vector<int64_t>& seeds);

// Where things lie in a zoo that is built.
std::filesystem::path base_folder(const ZooPlan& plan, int64_t seed);
std::filesystem::path item_folder(const ZooPlan& plan, const ZooItem& item);  // of its model
// Of the heads that the experts of a seed are evaluated with.
std::filesystem::path heads_file(const ZooPlan& plan, int64_t seed);
// Of the heads that were trained with an item: there where the recipe trains any.
std::filesystem::path own_heads_file(const ZooPlan& plan, const ZooItem& item);

}  // namespace fusegrid
