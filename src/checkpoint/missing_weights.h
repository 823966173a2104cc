#pragma once

#include <filesystem>

namespace fusegrid {

// Throws ConfigError, which says what a folder without model.safetensors and without its index holds instead: shards,
// weights under other names, pickle files; and what would help.
[[noreturn]] void fail_without_weights(const std::filesystem::path& folder);

}  // namespace fusegrid
