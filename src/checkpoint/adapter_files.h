// What all adapters of PEFT have in common: their files, their configuration, what is multiplied or added in float32.
#pragma once

#include <cstdint>
#include <functional>
#include <regex>

#include <c10/core/ScalarType.h>
#include <nlohmann/json.hpp>

#include "checkpoint/contained_folder.h"
#include "core/posix_file.h"

namespace fusegrid {

// Reads adapter_config.json. Throws as ContainedFolder::read_json().
nlohmann::json read_adapter_config(const ContainedFolder& folder);
// Opens adapter_model.safetensors. ConfigError where there is a pickle file in its place.
PosixFile open_adapter_weights(const ContainedFolder& folder);

// null, false or empty, as configurations say of what is not used
bool is_switched_off(const nlohmann::json& value);

// Of patterns in configurations. Polynomial: the time grows with the product of the lengths, whatever a stranger's
// pattern is.
constexpr auto kPatternSyntax = std::regex::ECMAScript | std::regex_constants::__polynomial;

// Reads elements that are stored in `dtype` as float32, a block at a time. read(first, n, to): elements counted from
// `begin`.
void read_as_floats(const std::function<void(int64_t first, int64_t n, void* to)>& read, at::ScalarType dtype,
                    int64_t begin, int64_t count, float* destination);

}  // namespace fusegrid
