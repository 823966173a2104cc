#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/weights.h"

namespace fusegrid {

// Throws ConfigError where a checkpoint is quantised: what its tensors stand for is spread over packed or scaled values
// and scales, which cannot be averaged apart. Signs are a configuration that says so (of GPTQ, AWQ, bitsandbytes,
// compressed-tensors, MLX, ..., also of a part of the model), whole numbers where weights must be, and scales beside
// float8 or packed tensors. Plain float8 tensors, and buffers of whole numbers, are no sign.
void check_not_quantised(const std::string& model, const nlohmann::json& config,
                         const std::vector<TensorInfo>& tensors);

}  // namespace fusegrid
