// Shot noise: each channel of each pixel is a count of light quanta, drawn from a Poisson distribution whose mean is
// its value.
//
// Source:  Hendrycks & Dietterich, ICLR 2019, arXiv:1903.12261.
// Differs: counts are drawn by inversion of one uniform number each, so that an example's bits are its own.

#include <array>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>

#include "core/philox.h"
#include "tasks/shift.h"

namespace fusegrid::shifts::shot_noise {
namespace {

constexpr std::array<double, 5> kQuanta{60, 25, 12, 5, 3};  // of white

// The smallest count whose probability of at most so many is above u.
double poisson(double mean, double u) {
  double probability = std::exp(-mean);
  double below = probability;
  double count = 0;
  constexpr double kMost = 1000;  // u is below 1, but the sum may stay below it by rounding
  while (u >= below && count < kMost) {
    count += 1;
    probability *= mean / count;
    below += probability;
  }
  return count;
}

at::Tensor apply(const at::Tensor& images, int64_t severity, uint64_t key, int64_t first_index) {
  const double quanta = kQuanta.at(static_cast<size_t>(severity - 1));
  at::Tensor noisy = at::empty_like(images);
  for (int64_t i = 0; i < images.size(0); ++i) {
    const at::Tensor source = images[i].contiguous();
    const at::Tensor numbers = uniform(key, static_cast<uint64_t>(first_index + i), 0, source.numel());
    const at::Tensor target = noisy[i];
    const auto* value = source.const_data_ptr<float>();
    const auto* number = numbers.const_data_ptr<float>();
    auto* out = target.mutable_data_ptr<float>();
    for (int64_t p = 0; p < source.numel(); ++p) {
      out[p] = static_cast<float>(poisson(value[p] * quanta, number[p]) / quanta);
    }
  }
  return noisy;
}

const bool registered = [] {
  shift_registry().add(
      "shot_noise", {"shot_noise", "arXiv:1903.12261", "light of 60, 25, 12, 5 or 3 quanta, counted", apply});
  return true;
}();

}  // namespace
}  // namespace fusegrid::shifts::shot_noise
