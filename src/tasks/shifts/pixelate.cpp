// Pixelation: the image is shrunk by area averaging and enlarged again by repeating pixels.
//
// Source:  Hendrycks & Dietterich, ICLR 2019, arXiv:1903.12261.
// Differs: the strengths are chosen for images of 28 pixels (to 20, 14, 10, 8 and 7 of them) and scale with
//          the size of the image.

#include <algorithm>
#include <array>
#include <cmath>

#include <ATen/ops/adaptive_avg_pool2d.h>
#include <ATen/ops/upsample_nearest2d.h>

#include "tasks/shift.h"

namespace fusegrid::shifts::pixelate {
namespace {

constexpr std::array<double, 5> kShareOfSide{20.0 / 28, 14.0 / 28, 10.0 / 28, 8.0 / 28, 7.0 / 28};

at::Tensor apply(const at::Tensor& images, int64_t severity, uint64_t /*key*/, int64_t /*first_index*/) {
  const double share = kShareOfSide.at(static_cast<size_t>(severity - 1));
  const auto shrunk = [&](int64_t side) {
    return std::max<int64_t>(1, std::llround(share * static_cast<double>(side)));
  };
  const at::Tensor small = at::adaptive_avg_pool2d(images, {shrunk(images.size(2)), shrunk(images.size(3))});
  return at::upsample_nearest2d(small, {images.size(2), images.size(3)});
}

const bool registered = [] {
  shift_registry().add("pixelate",
                       {"pixelate", "arXiv:1903.12261",
                        "shrunk to 20/28, 14/28, 10/28, 8/28 or 7/28 of its side and back", apply});
  return true;
}();

}  // namespace
}  // namespace fusegrid::shifts::pixelate
