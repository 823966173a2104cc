// The text forms of plans and items.
#include <set>

#include "core/alternatives.h"
#include "core/errors.h"
#include "core/text.h"
#include "zoo/build.h"

namespace fusegrid {
namespace {

const std::set<std::string>& setting_names() {
  static const std::set<std::string> names{"scale", "suite", "tasks", "folder", "pack", "pool", "overrides"};
  return names;
}

}  // namespace

nlohmann::json to_settings(const ZooPlan& plan) {
  return {{"scale", plan.scale},        {"suite", plan.suite},
          {"tasks", plan.tasks},        {"folder", plan.folder.string()},
          {"pack", plan.pack.string()}, {"pool", plan.pool.string()},
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
    plan.scale = settings.at("scale").get<std::string>();
    plan.suite = settings.at("suite").get<std::string>();
    plan.tasks = settings.at("tasks").get<std::vector<std::string>>();
    plan.folder = settings.at("folder").get<std::string>();
    plan.pack = settings.at("pack").get<std::string>();
    plan.pool = settings.at("pool").get<std::string>();
    plan.overrides = settings.at("overrides");
    make_recipe(plan.scale, plan.overrides);  // throws where it is none
    return plan;
  } catch (const nlohmann::json::exception& error) {
    throw ConfigError(std::string("the settings of a zoo are not complete: ") + error.what());
  }
}

std::string ZooItem::name() const {
  const std::string prefix = zoo + "/seed=" + std::to_string(seed) + "/";
  switch (kind) {
    case Kind::kBase:
      return prefix + "base";
    case Kind::kExpert:
      return prefix + "expert=" + task;
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
      item.task = parts[2].substr(expert_prefix.size());
    }
  }
  if (item.zoo.empty() || item.name() != name || (item.kind == Kind::kExpert && item.task.empty())) {
    throw ConfigError(
        "an item of a zoo must read <zoo>/seed=<seed>/ and then base, expert=<task> or multitask, "
        "but it is '" +
        name + "'");
  }
  return item;
}

}  // namespace fusegrid
