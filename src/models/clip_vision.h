#pragma once

#include <memory>

#include <nlohmann/json.hpp>

#include "models/architecture.h"

namespace fusegrid {

// The vision tower of CLIP (Radford et al., ICML 2021, arXiv:2103.00020) with the parameter names of
// HuggingFace's CLIPVisionModel. `config`: a config.json of model_type clip_vision_model, or of model_type
// clip, whose vision_config and projection_dim are used. Fields that are not given have HuggingFace's
// defaults. Dropout fields are ignored: nothing here evaluates or trains with dropout.
std::unique_ptr<Architecture> make_clip_vision(const nlohmann::json& config);
nlohmann::json clip_vision_settings(const nlohmann::json& config);  // architecture_settings() of it

}  // namespace fusegrid
