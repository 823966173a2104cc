// Motion blur: each pixel is the mean of a horizontal run of pixels, edges repeated.
//
// Source:  Hendrycks & Dietterich, ICLR 2019, arXiv:1903.12261.
// Differs: one direction and a uniform kernel, hence no random numbers; strengths for images of 28 pixels.

#include <array>

#include <ATen/TensorOperators.h>
#include <ATen/ops/replication_pad2d.h>

#include "tasks/shift.h"

namespace fusegrid::shifts::motion_blur {
namespace {

constexpr std::array<int64_t, 5> kPixels{2, 3, 5, 7, 9};

at::Tensor apply(const at::Tensor& images, int64_t severity, uint64_t /*key*/, int64_t /*first_index*/) {
  const int64_t length = kPixels.at(static_cast<size_t>(severity - 1));
  const int64_t left = length / 2;
  const at::Tensor padded = at::replication_pad2d(images, {left, length - 1 - left, 0, 0});
  at::Tensor sum = padded.narrow(3, 0, images.size(3)).clone();
  for (int64_t offset = 1; offset < length; ++offset) {
    sum += padded.narrow(3, offset, images.size(3));
  }
  return sum / static_cast<double>(length);
}

const bool registered = [] {
  shift_registry().add("motion_blur", {"motion_blur", "arXiv:1903.12261",
                                       "mean over a horizontal run of 2, 3, 5, 7 or 9 pixels", apply});
  return true;
}();

}  // namespace
}  // namespace fusegrid::shifts::motion_blur
