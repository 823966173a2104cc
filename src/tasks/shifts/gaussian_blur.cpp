// Gaussian blur: each pixel is a mean over its surroundings, edges repeated.
//
// Source:  Hendrycks & Dietterich, ICLR 2019, arXiv:1903.12261 (an extra corruption of theirs).
// Differs: the strengths are chosen for images of 28 pixels; the kernel ends at three deviations.

#include <array>
#include <cmath>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/replication_pad2d.h>

#include "tasks/shift.h"

namespace fusegrid::shifts::gaussian_blur {
namespace {

constexpr std::array<double, 5> kDeviation{0.5, 0.8, 1.2, 1.7, 2.4};  // pixels

// The weights of pixels that are 0, 1, ... away; all together, with both sides, are 1.
std::vector<double> weights_of(double deviation) {
  std::vector<double> weights;
  double sum = 0;
  for (int64_t distance = 0; distance <= std::lround(3 * deviation); ++distance) {
    const auto d = static_cast<double>(distance);
    weights.push_back(std::exp(-d * d / (2 * deviation * deviation)));
    sum += (distance == 0 ? 1 : 2) * weights.back();
  }
  for (double& weight : weights) {
    weight /= sum;
  }
  return weights;
}

// Along one axis of padded images, of which `size` entries remain.
at::Tensor along(const at::Tensor& padded, int64_t axis, int64_t size, const std::vector<double>& weights) {
  const auto reach = static_cast<int64_t>(weights.size()) - 1;
  at::Tensor sum = padded.narrow(axis, reach, size) * weights[0];
  for (int64_t distance = 1; distance <= reach; ++distance) {
    sum += (padded.narrow(axis, reach - distance, size) + padded.narrow(axis, reach + distance, size)) *
           weights[static_cast<size_t>(distance)];
  }
  return sum;
}

at::Tensor apply(const at::Tensor& images, int64_t severity, uint64_t /*key*/, int64_t /*first_index*/) {
  const std::vector<double> weights = weights_of(kDeviation.at(static_cast<size_t>(severity - 1)));
  const auto reach = static_cast<int64_t>(weights.size()) - 1;
  const at::Tensor padded = at::replication_pad2d(images, {reach, reach, reach, reach});
  return along(along(padded, 3, images.size(3), weights), 2, images.size(2), weights);
}

const bool registered = [] {
  shift_registry().add("gaussian_blur",
                       {"gaussian_blur", "arXiv:1903.12261",
                        "a normal kernel with a deviation of 0.5, 0.8, 1.2, 1.7 or 2.4 pixels", apply});
  return true;
}();

}  // namespace
}  // namespace fusegrid::shifts::gaussian_blur
