// What writing any folder of a model has in common.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "core/weights.h"

namespace fusegrid {

// Writes `files` (name -> content) and `weights` under the name `weights_file` to a temporary folder beside `path`,
// syncs them and renames the folder: `path` is complete or absent. Throws ConfigError where `path` exists and is not
// empty, a file's name is not plain or that of the weights, or a tensor's name cannot be written; IoError where writing
// fails.
void save_folder(const std::filesystem::path& path, const std::map<std::string, std::string>& files,
                 const std::string& weights_file, const Weights& weights);

}  // namespace fusegrid
