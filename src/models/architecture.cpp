#include "models/architecture.h"

#include <ATen/TensorOperators.h>

#include "core/errors.h"
#include "models/clip_vision.h"
#include "models/settings.h"

namespace fusegrid {

at::Tensor Architecture::block(const Weights& weights, int64_t index, const at::Tensor& x,
                               const LinearHook& hook) const {
  const at::Tensor attended = attention(weights, index, x, hook);
  return attended + mlp(weights, index, mlp_input(weights, index, attended), hook);
}

at::Tensor Architecture::features(const Weights& weights, const at::Tensor& pixels,
                                  const LinearHook& hook) const {
  at::Tensor x = embed(weights, pixels);
  for (int64_t i = 0; i < num_blocks(); ++i) {
    x = block(weights, i, x, hook);
  }
  return pool(weights, x);
}

namespace {

void check_model_type(const nlohmann::json& config) {
  const std::string type =
      config.is_object() && config.contains("model_type") && config["model_type"].is_string()
          ? config["model_type"].get<std::string>()
          : "";
  if (type != "clip" && type != "clip_vision_model") {
    throw ConfigError("config.json: model_type must be one of clip, clip_vision_model, but it is '" + type +
                      "'; models of other architectures can be merged (fusegrid merge) but not evaluated");
  }
}

}  // namespace

std::unique_ptr<Architecture> make_architecture(const nlohmann::json& config) {
  check_model_type(config);
  return make_clip_vision(config);
}

nlohmann::json architecture_settings(const nlohmann::json& config) {
  check_model_type(config);
  return clip_vision_settings(config);
}

}  // namespace fusegrid
