// Fog: a cloud is added to the image, and the sum is scaled back so that its brightest pixel keeps its value.
//
// Source:  Hendrycks & Dietterich, ICLR 2019, arXiv:1903.12261.
// Differs: the cloud is value noise of four octaves, each half as strong as the coarser one, instead of a
//          diamond-square fractal; the strengths are chosen for images of 28 pixels.

#include <array>

#include <ATen/TensorOperators.h>
#include <ATen/ops/upsample_bilinear2d.h>
#include <ATen/ops/zeros.h>

#include "core/philox.h"
#include "tasks/shift.h"

namespace fusegrid::shifts::fog {
namespace {

constexpr std::array<double, 5> kStrength{0.5, 0.9, 1.4, 2.0, 2.8};
constexpr int64_t kOctaves = 4;

// [1, height, width] in [0, 1].
at::Tensor cloud(uint64_t key, uint64_t example, int64_t height, int64_t width) {
  at::Tensor sum = at::zeros({1, 1, height, width});
  double strength = 1;
  uint64_t offset = 0;
  for (int64_t octave = 0; octave < kOctaves; ++octave) {
    const int64_t side = int64_t{2} << octave;
    const at::Tensor grid = uniform(key, example, offset, side * side).view({1, 1, side, side});
    offset += static_cast<uint64_t>(side * side);
    sum += at::upsample_bilinear2d(grid, {height, width}, /*align_corners=*/true) * strength;
    strength /= 2;
  }
  const at::Tensor least = sum.min();
  return ((sum - least) / (sum.max() - least))[0];
}

at::Tensor apply(const at::Tensor& images, int64_t severity, uint64_t key, int64_t first_index) {
  const double strength = kStrength.at(static_cast<size_t>(severity - 1));
  at::Tensor foggy = images.clone();
  for (int64_t i = 0; i < images.size(0); ++i) {
    const at::Tensor brightest = images[i].max();
    const at::Tensor fog =
        cloud(key, static_cast<uint64_t>(first_index + i), images.size(2), images.size(3)) * strength;
    foggy[i].add_(fog).mul_(brightest / (brightest + strength));
  }
  return foggy;
}

const bool registered = [] {
  shift_registry().add(
      "fog", {"fog", "arXiv:1903.12261", "a cloud of 0.5, 0.9, 1.4, 2 or 2.8 of white, scaled back", apply});
  return true;
}();

}  // namespace
}  // namespace fusegrid::shifts::fog
