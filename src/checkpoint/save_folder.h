// What writing any folder of a model has in common.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "core/weights.h"

namespace fusegrid {

// Writes `files` (name -> content) and the safetensors files `weights` (by name) to a temporary folder beside `path`,
// syncs them and renames the folder: `path` is complete or absent. Throws ConfigError as check_new_folder(), and where
// a file's name is not plain or that of weights, or a tensor's name cannot be written; IoError where writing fails.
void save_folder(const std::filesystem::path& path, const std::map<std::string, std::string>& files,
                 const std::map<std::string, Weights>& weights);

// ConfigError where `path` exists and is not an empty folder.
void check_new_folder(const std::filesystem::path& path);

}  // namespace fusegrid
