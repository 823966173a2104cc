// Impulse noise: a share of the pixels becomes black or white, all channels alike ("salt and pepper").
//
// Source:  Hendrycks & Dietterich, ICLR 2019, arXiv:1903.12261.
// Differs: channels of a pixel change together; the strengths are chosen for images of 28 pixels.

#include <array>

#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>

#include "core/philox.h"
#include "tasks/shift.h"

namespace fusegrid::shifts::impulse_noise {
namespace {

constexpr std::array<double, 5> kShare{0.02, 0.05, 0.1, 0.17, 0.25};

at::Tensor apply(const at::Tensor& images, int64_t severity, uint64_t key, int64_t first_index) {
  const int64_t height = images.size(2);
  const int64_t width = images.size(3);
  std::vector<at::Tensor> numbers;
  for (int64_t i = 0; i < images.size(0); ++i) {
    numbers.push_back(
        uniform(key, static_cast<uint64_t>(first_index + i), 0, height * width).view({1, height, width}));
  }
  const at::Tensor u = at::stack(numbers);
  const double half = kShare.at(static_cast<size_t>(severity - 1)) / 2;
  return images.masked_fill(u < half, 0).masked_fill(u >= 1 - half, 1);
}

const bool registered = [] {
  shift_registry().add("impulse_noise",
                       {"impulse_noise", "arXiv:1903.12261", "a share of the pixels black or white", apply});
  return true;
}();

}  // namespace
}  // namespace fusegrid::shifts::impulse_noise
