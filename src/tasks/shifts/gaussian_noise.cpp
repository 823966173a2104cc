// Gaussian noise: independent normal noise on every channel of every pixel.
//
// Source:  Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
//          Perturbations", ICLR 2019, arXiv:1903.12261.
// Differs: the strengths are chosen for images of 28 pixels.

#include <array>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>

#include "core/philox.h"
#include "tasks/shift.h"

namespace fusegrid::shifts::gaussian_noise {
namespace {

constexpr std::array<double, 5> kDeviation{0.06, 0.12, 0.2, 0.3, 0.4};

at::Tensor apply(const at::Tensor& images, int64_t severity, uint64_t key, int64_t first_index) {
  at::Tensor noise = at::empty_like(images);
  for (int64_t i = 0; i < images.size(0); ++i) {
    const at::Tensor of_image = noise[i];
    of_image.view({-1}).copy_(normal(key, static_cast<uint64_t>(first_index + i), 0, of_image.numel()));
  }
  return images + noise * kDeviation.at(static_cast<size_t>(severity - 1));
}

const bool registered = [] {
  shift_registry().add("gaussian_noise", {"gaussian_noise", "arXiv:1903.12261",
                                          "normal noise on every channel of every pixel", apply});
  return true;
}();

}  // namespace
}  // namespace fusegrid::shifts::gaussian_noise
