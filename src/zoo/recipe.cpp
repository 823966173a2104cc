#include "zoo/recipe.h"

#include <algorithm>

#include "core/alternatives.h"
#include "core/errors.h"

namespace fusegrid {

const RecipeScale& Recipe::scale(const std::string& name) const {
  std::vector<std::string> known;
  for (const RecipeScale& each : card.scales) {
    if (each.name == name) {
      return each;
    }
    known.push_back(each.name);
  }
  throw ConfigError("the recipe '" + card.name + "' has no scale '" + name + "'" + alternatives(name, known));
}

Registry<Recipe>& recipe_registry() {
  static Registry<Recipe> registry("recipe of a zoo");
  return registry;
}

const Recipe& recipe_of(const ZooPlan& plan) {
  return recipe_registry().at(plan.recipe);
}

std::vector<RecipeOption> options_of(const ZooPlan& plan) {
  const Recipe& recipe = recipe_of(plan);
  return recipe.options(recipe.scale(plan.scale), plan.overrides);
}

std::vector<std::string> first_tasks(const std::vector<std::string>& tasks, int64_t count) {
  const auto end = std::min<size_t>(tasks.size(), static_cast<size_t>(count));
  return {tasks.begin(), tasks.begin() + static_cast<std::ptrdiff_t>(end)};
}

TrainedTasks trained_tasks(const ZooPlan& plan) {
  const Recipe& recipe = recipe_of(plan);
  return recipe.trained(recipe.scale(plan.scale), plan.overrides, plan.tasks);
}

std::vector<std::string> tasks_of_expert(const ZooPlan& plan, const std::string& expert) {
  const bool is_task = std::find(plan.tasks.begin(), plan.tasks.end(), expert) != plan.tasks.end();
  return is_task ? std::vector{expert} : plan.tasks;
}

std::vector<std::string> classes_of_expert(const ZooPlan& plan, const std::string& expert,
                                           const TaskInfo& task) {
  const Recipe& recipe = recipe_of(plan);
  const auto classes = static_cast<int64_t>(task.class_names.size());
  std::vector<std::string> seen;
  for (int64_t label = 0; label < classes; ++label) {
    if (recipe.has_seen(recipe.scale(plan.scale), plan.overrides, expert, label, classes)) {
      seen.push_back(task.class_names[static_cast<size_t>(label)]);
    }
  }
  return seen;
}

ZooPlan plan_of_bases(const ZooPlan& plan) {
  ZooPlan bases = plan;
  if (const std::string& other = recipe_of(plan).card.bases; !other.empty()) {
    bases.recipe = other;
    bases.overrides = nlohmann::json::object();
  }
  return bases;
}

nlohmann::json described_recipe(const ZooPlan& plan) {
  nlohmann::json described{{"name", plan.recipe}, {"scale", plan.scale}};
  for (const RecipeOption& option : options_of(plan)) {
    const std::string& text = option.param.value;
    const auto number = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    described[option.param.name] = number.is_discarded() ? nlohmann::json(text) : number;
  }
  return described;
}

nlohmann::json overrides_of(const nlohmann::json& described) {
  ZooPlan plan{.recipe = described.value("name", ""), .scale = described.value("scale", "")};
  if (!recipe_registry().contains(plan.recipe)) {
    return plan.overrides;
  }
  for (int round = 0; round < 2; ++round) {  // the first decides what others default to
    const nlohmann::json now = described_recipe(plan);
    for (const auto& [name, value] : now.items()) {
      if (described.contains(name) && described[name] != value) {
        plan.overrides[name] = described[name];
      }
    }
  }
  return plan.overrides;
}

ParamText text_of_overrides(const nlohmann::json& overrides) {
  if (!overrides.is_object()) {
    throw ConfigError("the options of a recipe must be an object of names and values, but are " +
                      overrides.dump());
  }
  ParamText text;
  for (const auto& [name, value] : overrides.items()) {
    text[name] = value.is_string() ? value.get<std::string>() : value.dump();
  }
  return text;
}

}  // namespace fusegrid
