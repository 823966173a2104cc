#pragma once

#include <string>

#include "core/weights.h"

namespace fusegrid {

// What a tensor does in its model.
enum class Role {
  kMatrix,       // of an affine layer, [out, in]
  kConvolution,  // kernel, [out, in, ...]
  kEmbedding,    // what inputs become at first: rows of tokens, positions, classes; the kernel of patches
  kScale,        // of a norm
  kBias,         // whatever is added alone
  kRunningStatistic,  // of batch norm: averaged or made again, never scaled or pruned
  kOther,             // no floating-point tensor: counters, buffers of positions
};

// By name and shape, for models of any family, known or not: the one place that guesses. A test compares it with what
// the known families say.
Role role_of(const TensorInfo& tensor);

bool is_running_statistic(const TensorInfo& tensor);
bool is_running_statistic(const std::string& name, const at::Tensor& tensor);
// Of an affine layer or a convolution.
bool is_layer_weight(const TensorInfo& tensor);

std::string to_string(Role role);

}  // namespace fusegrid
