#pragma once

#include <nlohmann/json.hpp>

namespace fusegrid {

// Every value of a config.json that the forward pass depends on, those that are left out at their defaults: two
// configurations with the same settings make the same function of the same weights. Throws as make_architecture().
nlohmann::json architecture_settings(const nlohmann::json& config);

}  // namespace fusegrid
