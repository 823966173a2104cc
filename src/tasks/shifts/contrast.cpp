// Contrast: pixels move towards the mean of their image.
//
// Source:  Hendrycks & Dietterich, ICLR 2019, arXiv:1903.12261.
// Differs: the strengths are chosen for images of 28 pixels; the mean is over all channels.

#include <array>

#include <ATen/TensorOperators.h>

#include "tasks/shift.h"

namespace fusegrid::shifts::contrast {
namespace {

constexpr std::array<double, 5> kRemaining{0.6, 0.45, 0.3, 0.2, 0.12};

at::Tensor apply(const at::Tensor& images, int64_t severity, uint64_t /*key*/, int64_t /*first_index*/) {
  const at::Tensor mean = images.mean({1, 2, 3}, /*keepdim=*/true);
  return mean + (images - mean) * kRemaining.at(static_cast<size_t>(severity - 1));
}

const bool registered = [] {
  shift_registry().add("contrast", {"contrast", "arXiv:1903.12261",
                                    "0.6, 0.45, 0.3, 0.2 or 0.12 of the contrast remains", apply});
  return true;
}();

}  // namespace
}  // namespace fusegrid::shifts::contrast
