// Brightness: the same is added to every pixel.
//
// Source:  Hendrycks & Dietterich, ICLR 2019, arXiv:1903.12261.
// Differs: it is added to the channels, not to the value of HSV; strengths are theirs.

#include <array>

#include <ATen/TensorOperators.h>

#include "tasks/shift.h"

namespace fusegrid::shifts::brightness {
namespace {

constexpr std::array<double, 5> kAdded{0.1, 0.2, 0.3, 0.4, 0.5};

at::Tensor apply(const at::Tensor& images, int64_t severity, uint64_t /*key*/, int64_t /*first_index*/) {
  return images + kAdded.at(static_cast<size_t>(severity - 1));
}

const bool registered = [] {
  shift_registry().add(
      "brightness", {"brightness", "arXiv:1903.12261", "0.1, 0.2, 0.3, 0.4 or 0.5 of white is added", apply});
  return true;
}();

}  // namespace
}  // namespace fusegrid::shifts::brightness
