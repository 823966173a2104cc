#pragma once

#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

#include "core/registry.h"

namespace fusegrid {

// An evaluation condition: what is done to the images of a split before a model sees them. Applied on the
// fly; the random numbers of an example depend on (shift, severity, task, index of the example in its split)
// alone: every method and every seed sees the same images. One .cpp of src/tasks/shifts each, registering
// itself.
struct Shift {
  std::string name;  // "gaussian_noise"
  std::string paper;
  std::string doc;
  // images: float [batch, 3, size, size] on the CPU, in [0, 1]; severity 1..5; first_index: of the batch's
  // first example, whose random numbers are stream first_index of `key`. What leaves [0, 1] is cut off
  // afterwards.
  at::Tensor (*apply)(const at::Tensor& images, int64_t severity, uint64_t key,
                      int64_t first_index) = nullptr;
};

Registry<Shift>& shift_registry();

// Checks the text of Cell::shift ("clean" or "<name>-<severity>"); ConfigError lists what is known.
void check_shift(const std::string& text);
// Applies it to uint8 images [batch, 3, size, size] on the CPU and rounds to uint8; "clean" returns the
// images themselves. `first_index`: place of the batch's first example in its split. The result of an example
// does not depend on its batch. Throws what check_shift throws.
at::Tensor apply_shift(const std::string& text, const at::Tensor& images, const std::string& task,
                       int64_t first_index);

}  // namespace fusegrid
