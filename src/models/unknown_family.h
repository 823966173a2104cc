#pragma once

#include <memory>

#include <nlohmann/json.hpp>

#include "checkpoint/model_source.h"
#include "models/architecture.h"

namespace fusegrid {

// Whether a config.json, which names a model_type, is of a family that is not among architecture_registry().
bool is_of_unknown_family(const nlohmann::json& config);

// What is known of such a model: the names and shapes of its floating-point tensors, as its files hold them. It can be
// merged by methods that ask for no more, written, and evaluated by programs that know it; its features() throws
// ConfigError.
std::unique_ptr<Architecture> unknown_architecture(const ModelSource& model);
// What the function of a model depends on besides its weights: architecture_settings(), or of an unknown family all of
// its configuration but what says nothing of that.
nlohmann::json settings_of(const nlohmann::json& config);

}  // namespace fusegrid
