#include "zoo/recipe.h"

#include "core/errors.h"
#include "core/registry.h"

namespace fusegrid {
namespace {

Recipe small() {
  Recipe recipe;
  recipe.scale = "small";
  return recipe;
}

Recipe medium() {
  Recipe recipe;
  recipe.scale = "medium";
  recipe.width = 128;
  recipe.blocks = 6;
  recipe.base_lr = 1e-3;
  return recipe;
}

Recipe large() {
  Recipe recipe;
  recipe.scale = "large";
  recipe.width = 512;
  recipe.blocks = 8;
  recipe.base_lr = 4e-4;
  recipe.base_steps = 3000;
  recipe.base_batch = 128;
  recipe.expert_lr = 2e-4;
  return recipe;
}

const Registry<Recipe>& recipes() {
  static const Registry<Recipe> all = [] {
    Registry<Recipe> registry("scale of the embedded zoo");
    for (const Recipe& recipe : {small(), medium(), large()}) {
      registry.add(recipe.scale, recipe);
    }
    return registry;
  }();
  return all;
}

}  // namespace

std::vector<std::string> recipe_scales() {
  return recipes().names();
}

Recipe make_recipe(const std::string& scale, const nlohmann::json& overrides) {
  Recipe recipe = recipes().at(scale);
  if (!overrides.is_object()) {
    throw ConfigError("the recipe's overrides must be an object of names and numbers, but are " +
                      overrides.dump());
  }
  ParamText text;
  for (const auto& [name, value] : overrides.items()) {
    text[name] = value.is_string() ? value.get<std::string>() : value.dump();
  }
  ParamReader reader("recipe of scale " + scale, text);
  recipe.describe(reader);
  reader.expect_all_read();
  if (recipe.width % recipe.head_width != 0 || recipe.image_size % recipe.patch_size != 0) {
    throw ConfigError("recipe of scale " + scale +
                      ": head_width must divide width and patch_size must divide image_size, but they are " +
                      std::to_string(recipe.head_width) + ", " + std::to_string(recipe.width) + ", " +
                      std::to_string(recipe.patch_size) + ", " + std::to_string(recipe.image_size));
  }
  return recipe;
}

nlohmann::json Recipe::architecture_config() const {
  return {{"architectures", {"CLIPVisionModel"}},
          {"model_type", "clip_vision_model"},
          {"hidden_size", width},
          {"intermediate_size", mlp_ratio * width},
          {"num_hidden_layers", blocks},
          {"num_attention_heads", width / head_width},
          {"num_channels", 3},
          {"image_size", image_size},
          {"patch_size", patch_size},
          {"hidden_act", "quick_gelu"},
          {"layer_norm_eps", 1e-5},
          {"attention_dropout", 0.0},
          {"projection_dim", width},
          {"torch_dtype", "float32"}};
}

nlohmann::json Recipe::to_json() const {
  ParamLister lister;
  Recipe copy = *this;
  copy.describe(lister);
  nlohmann::json json{{"name", "K4"}, {"scale", scale}};
  for (const ParamInfo& param : lister.params()) {
    json[param.name] = nlohmann::json::parse(param.value);
  }
  return json;
}

}  // namespace fusegrid
