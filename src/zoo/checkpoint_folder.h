// Checkpoint folders as zoos read them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "checkpoint/hf_folder.h"

namespace fusegrid {

// Throws as HfFolder. Links are followed where they stay inside: a hub cache is made of them.
HfFolder open_checkpoint(const std::filesystem::path& path);

// ConfigError unless the folder has the parameter under one of `names`, floating-point and of its shape.
void check_parameter(const HfFolder& folder, const TensorInfo& wanted, const std::vector<std::string>& names);
// Its values in float32. Throws as check_parameter().
at::Tensor read_parameter(const HfFolder& folder, const TensorInfo& wanted,
                          const std::vector<std::string>& names);

}  // namespace fusegrid
