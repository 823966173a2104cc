// What a zoo's folder holds already is neither replaced nor mixed with other models without being asked.
#include <algorithm>

#include "core/errors.h"
#include "zoo/build.h"
#include "zoo/folders.h"
#include "zoo/recipe.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kRemedy = "; give the new zoo a folder of its own with --out, or remove this one";

// The first number in which a model that is there differs from the plan's recipe: "expert_steps is 20, not 350".
std::string difference(const ZooPlan& of_zoo, const ZooItem& item) {
  const ZooPlan plan = item.kind == ZooItem::Kind::kBase ? plan_of_bases(of_zoo) : of_zoo;
  std::set<std::string> of_models_only;
  for (const RecipeOption& option : options_of(plan)) {
    if (!option.of_base) {
      of_models_only.insert(option.param.name);
    }
  }
  const json seen = read_provenance(item_folder(plan, item)).value("recipe", json::object());
  const json planned = described_recipe(plan);
  for (const auto& [name, value] : planned.items()) {
    const bool matters = item.kind != ZooItem::Kind::kBase || !of_models_only.contains(name);
    if (matters && seen.contains(name) && seen[name] != value) {
      return name + " is " + seen[name].dump() + ", not " + value.dump();
    }
  }
  return "";
}

class Existing {
 public:
  Existing(const ZooPlan& plan, const std::set<std::string>& recorded) : plan_(plan), recorded_(recorded) {
    if (!fs::exists(plan.folder / "zoo.json")) {
      return;
    }
    const Zoo zoo = Zoo::read(plan.folder);
    if (zoo.imported) {
      throw ConfigError("the zoo in '" + plan.folder.string() +
                        "' was imported, and building one there would replace " + "its description" +
                        kRemedy);
    }
    for (const Replicate& replicate : zoo.replicates) {
      finished_.insert(replicate.seed);
    }
  }

  bool made(const ZooItem& item) const { return recorded_.contains(item.name()); }
  bool finished(const ZooItem& item) const { return finished_.contains(item.seed); }
  // Whether models of the item's seed were trained from it.
  bool is_base_of_others(const ZooItem& item) const {
    const auto models = model_items(plan_, {item.seed});
    return item.kind == ZooItem::Kind::kBase &&
           std::any_of(models.begin(), models.end(), [&](const ZooItem& model) { return made(model); });
  }

 private:
  const ZooPlan& plan_;
  const std::set<std::string>& recorded_;
  std::set<int64_t> finished_;
};

}  // namespace

void check_existing_models(const ZooPlan& plan, const std::vector<int64_t>& seeds,
                           const std::vector<ZooItem>& to_train, const std::set<std::string>& recorded) {
  const Existing existing(plan, recorded);
  auto items = base_items(plan, seeds);
  const auto models = model_items(plan, seeds);
  items.insert(items.end(), models.begin(), models.end());
  for (const ZooItem& item : items) {
    const bool kept = existing.made(item) || existing.finished(item) || item.kind == ZooItem::Kind::kBase;
    const std::string other = kept && fs::exists(item_folder(plan, item)) ? difference(plan, item) : "";
    if (!other.empty()) {
      throw ConfigError("all models of a zoo must be made by one recipe, but in '" +
                        item_folder(plan, item).string() + "' " + other + " as this command asks for" +
                        kRemedy);
    }
  }
  for (const ZooItem& item : to_train) {
    if (fs::exists(item_folder(plan, item)) && !existing.made(item) &&
        (existing.finished(item) || existing.is_base_of_others(item))) {
      throw ConfigError("this command would train '" + item.name() + "' anew over the model in '" +
                        item_folder(plan, item).string() + "', which belongs to a zoo that is in use" +
                        kRemedy);
    }
  }
}

}  // namespace fusegrid
