#include "zoo/plan.h"

#include <algorithm>
#include <set>

#include "core/alternatives.h"
#include "core/errors.h"
#include "core/text.h"
#include "zoo/recipe.h"

namespace fusegrid {
namespace {

const std::set<std::string>& setting_names() {
  static const std::set<std::string> names{"recipe",    "scale",     "suite",     "tasks",
                                           "folder",    "pack",      "pool",      "published_base",
                                           "multitask", "overrides", "more_tasks"};
  return names;
}

std::filesystem::path seed_folder(const ZooPlan& plan, int64_t seed) {
  return plan.folder / ("seed-" + std::to_string(seed));
}

}  // namespace

nlohmann::json to_settings(const ZooPlan& plan) {
  return {{"recipe", plan.recipe},
          {"scale", plan.scale},
          {"suite", plan.suite},
          {"tasks", plan.tasks},
          {"more_tasks", plan.more_tasks},
          {"folder", plan.folder.string()},
          {"pack", plan.pack.string()},
          {"pool", plan.pool.string()},
          {"published_base", plan.published_base.string()},
          {"multitask", plan.multitask},
          {"overrides", plan.overrides}};
}

ZooPlan parse_settings(const nlohmann::json& settings) {
  if (!settings.is_object()) {
    throw ConfigError("the settings of a zoo must be an object, but are " + settings.dump());
  }
  for (const auto& [name, value] : settings.items()) {
    if (!setting_names().contains(name)) {
      throw ConfigError("a zoo has no setting '" + name + "'" +
                        alternatives(name, {setting_names().begin(), setting_names().end()}));
    }
  }
  try {
    ZooPlan plan;
    plan.recipe = settings.at("recipe").get<std::string>();
    plan.scale = settings.at("scale").get<std::string>();
    plan.suite = settings.at("suite").get<std::string>();
    plan.tasks = settings.at("tasks").get<std::vector<std::string>>();
    plan.more_tasks = settings.at("more_tasks").get<std::vector<std::pair<std::string, std::string>>>();
    plan.folder = settings.at("folder").get<std::string>();
    plan.pack = settings.at("pack").get<std::string>();
    plan.pool = settings.at("pool").get<std::string>();
    plan.published_base = settings.at("published_base").get<std::string>();
    plan.multitask = settings.at("multitask").get<bool>();
    plan.overrides = settings.at("overrides");
    options_of(plan);  // throws where recipe, scale or overrides are none
    return plan;
  } catch (const nlohmann::json::exception& error) {
    throw ConfigError(std::string("the settings of a zoo are not complete: ") + error.what());
  }
}

std::vector<std::string> ZooPlan::all_tasks() const {
  return owned_by(tasks);
}

std::vector<std::string> ZooPlan::owned_by(const std::vector<std::string>& experts) const {
  std::vector<std::string> owned = experts;
  for (const auto& [task, owner] : more_tasks) {
    if (std::find(experts.begin(), experts.end(), owner) != experts.end()) {
      owned.push_back(task);
    }
  }
  return owned;
}

std::string ZooItem::name() const {
  const std::string prefix = zoo + "/seed=" + std::to_string(seed) + "/";
  switch (kind) {
    case Kind::kBase:
      return prefix + "base";
    case Kind::kExpert:
      return prefix + "expert=" + expert;
    case Kind::kMultitask:
      break;
  }
  return prefix + "multitask";
}

ZooItem ZooItem::parse(const std::string& name) {
  const auto parts = split(name, '/');
  const std::string seed_prefix = "seed=";
  const std::string expert_prefix = "expert=";
  ZooItem item;
  if (parts.size() == 3 && parts[1].starts_with(seed_prefix)) {
    item.zoo = parts[0];
    item.seed = parse_int(parts[1].substr(seed_prefix.size()), "the seed of '" + name + "'");
    item.kind = parts[2] == "base" ? Kind::kBase : Kind::kMultitask;
    if (parts[2].starts_with(expert_prefix)) {
      item.kind = Kind::kExpert;
      item.expert = parts[2].substr(expert_prefix.size());
    }
  }
  if (item.zoo.empty() || item.name() != name || (item.kind == Kind::kExpert && item.expert.empty())) {
    throw ConfigError(
        "an item of a zoo must read <zoo>/seed=<seed>/ and then base, expert=<task> or multitask, "
        "but it is '" +
        name + "'");
  }
  return item;
}

std::vector<ZooItem> base_items(const ZooPlan& plan, const std::vector<int64_t>& seeds) {
  std::vector<ZooItem> items;
  if (!recipe_of(plan).card.has_bases) {
    return items;
  }
  for (const int64_t seed : seeds) {
    items.push_back({plan.name(), seed, ZooItem::Kind::kBase, ""});
  }
  return items;
}

std::vector<ZooItem> model_items(const ZooPlan& plan, const std::vector<int64_t>& seeds) {
  std::vector<ZooItem> items;
  const TrainedTasks trained = trained_tasks(plan);
  for (const int64_t seed : seeds) {
    for (const std::string& expert : trained.experts) {
      items.push_back({plan.name(), seed, ZooItem::Kind::kExpert, expert});
    }
    if (plan.multitask && !trained.multitask.empty()) {
      items.push_back({plan.name(), seed, ZooItem::Kind::kMultitask, ""});
    }
  }
  return items;
}

std::filesystem::path base_folder(const ZooPlan& plan, int64_t seed) {
  return seed_folder(plan, seed) / "base";
}

std::filesystem::path item_folder(const ZooPlan& plan, const ZooItem& item) {
  switch (item.kind) {
    case ZooItem::Kind::kBase:
      return base_folder(plan, item.seed);
    case ZooItem::Kind::kExpert:
      return seed_folder(plan, item.seed) / "experts" / item.expert;
    case ZooItem::Kind::kMultitask:
      break;
  }
  return seed_folder(plan, item.seed) / "multitask";
}

std::filesystem::path heads_file(const ZooPlan& plan, int64_t seed) {
  return seed_folder(plan, seed) / "heads.safetensors";
}

std::filesystem::path own_heads_file(const ZooPlan& plan, const ZooItem& item) {
  switch (item.kind) {
    case ZooItem::Kind::kBase:
      return heads_file(plan, item.seed);
    case ZooItem::Kind::kExpert:
      return item_folder(plan, item) / "head.safetensors";
    case ZooItem::Kind::kMultitask:
      break;
  }
  return item_folder(plan, item) / "heads.safetensors";
}

}  // namespace fusegrid
