#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>

#include "checkpoint/hf_folder.h"
#include "core/philox.h"
#include "core/role.h"
#include "models/architecture.h"
#include "models/inputs.h"
#include "models/stored_parameters.h"

namespace fusegrid {

inline Weights random_weights(const Architecture& architecture, at::ScalarType dtype = at::kDouble) {
  constexpr double kScale = 0.4;  // large enough that every part of a small model changes what it gives
  Weights weights;
  for (const TensorInfo& info : architecture.parameters()) {
    const at::Tensor values = normal(derive_key(1, info.name), 0, 0, info.numel()).view(info.shape);
    const bool is_variance = info.name.ends_with("running_var");
    weights.emplace(info.name, (is_variance ? values.abs() + kScale : values * kScale).to(dtype));
  }
  return weights;
}

// Numbers of all its tensors; or without running statistics, which no training changes.
inline int64_t count_parameters(const Architecture& architecture, bool with_statistics = true) {
  int64_t count = 0;
  for (const TensorInfo& info : architecture.parameters()) {
    count += !with_statistics && is_running_statistic(info) ? 0 : info.numel();
  }
  return count;
}

// Normalised images, as an architecture reads them.
inline Inputs random_images(int64_t count, int64_t size) {
  Inputs inputs;
  inputs.images = normal(derive_key(2, "images"), 0, 0, count * 3 * size * size).view({count, 3, size, size});
  return inputs;
}

// States on their way from noise, each with two things that are asked for.
inline Inputs random_states(int64_t count, const InputFormat& format) {
  const int64_t channels = format.state_channels, size = format.state_size;
  Inputs inputs;
  inputs.state = normal(derive_key(2, "states"), 0, 0, count * channels * size * size)
                     .view({count, channels, size, size});
  inputs.time = uniform(derive_key(2, "times"), 0, 0, count);
  inputs.condition =
      (uniform(derive_key(2, "conditions"), 0, 0, 2 * count) * static_cast<double>(format.conditions))
          .to(at::kLong)
          .view({count, 2});
  return inputs;
}

// Rows of random ids, as wide as the longest, filled up with 0.
inline Inputs random_tokens(const std::vector<int64_t>& lengths, int64_t vocabulary) {
  const auto count = static_cast<int64_t>(lengths.size());
  const int64_t width = *std::max_element(lengths.begin(), lengths.end());
  Inputs inputs;
  inputs.lengths = at::tensor(lengths, at::kLong);
  inputs.tokens = (uniform(derive_key(3, "tokens"), 0, 0, count * width) * static_cast<double>(vocabulary))
                      .to(at::kLong)
                      .view({count, width});
  inputs.tokens = inputs.tokens * inputs.counting();
  return inputs;
}

inline double max_error(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() ? (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>() : 1e300;
}

// The parameters of a checkpoint, however it holds them.
inline Weights read_parameters(const Architecture& architecture, const HfFolder& folder) {
  const StoredParameters stored(architecture, folder);
  Weights weights;
  for (const TensorInfo& info : stored.tensors()) {
    weights.emplace(info.name, stored.read(info.name));
  }
  return weights;
}

}  // namespace fusegrid
