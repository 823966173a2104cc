#pragma once

#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

#include "core/registry.h"

namespace fusegrid {

// An evaluation condition: what is done to the images of a split before a model sees them. Applied on the
// fly; the random numbers of an example depend on (seed, shift, task, index of the example in its split)
// alone.
struct Shift {
  std::string name;  // "gaussian_noise"
  std::string paper;
  std::string doc;
  // images uint8 [batch, 3, size, size] on the CPU; first_index: of the batch's first example; severity 1..5
  at::Tensor (*apply)(const at::Tensor& images, int64_t severity, uint64_t key,
                      int64_t first_index) = nullptr;
};

Registry<Shift>& shift_registry();

// Checks the text of Cell::shift ("clean" or "<name>-<severity>"); ConfigError lists what is known.
void check_shift(const std::string& text);
// Applies it; "clean" returns the images themselves.
at::Tensor apply_shift(const std::string& text, const at::Tensor& images, const std::string& task,
                       int64_t first_index);

}  // namespace fusegrid
