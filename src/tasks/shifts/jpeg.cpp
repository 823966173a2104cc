// JPEG compression: the cosine coefficients of blocks of 8 x 8 pixels are rounded to multiples of the standard's steps
// for luminance, which a quality scales.
//
// Source:  Hendrycks & Dietterich, ICLR 2019, arXiv:1903.12261; ITU-T T.81, annex A.3.3 and table K.1; the scale of a
//          quality is that of the Independent JPEG Group's library.
// Differs: each channel is compressed as luminance, without subsampling of colours; the strengths are chosen for images
//          of 28 pixels.

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/replication_pad2d.h>

#include "tasks/shift.h"

namespace fusegrid::shifts::jpeg {
namespace {

constexpr int64_t kSide = 8;
constexpr std::array<double, 5> kQuality{50, 25, 15, 10, 5};
constexpr std::array<double, 64> kSteps{
    16, 11, 10, 16, 24,  40,  51,  61,  12, 12, 14, 19, 26,  58,  60,  55,  //
    14, 13, 16, 24, 40,  57,  69,  56,  14, 17, 22, 29, 51,  87,  80,  62,  //
    18, 22, 37, 56, 68,  109, 103, 77,  24, 35, 55, 64, 81,  104, 113, 92,  //
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99};

// Orthonormal: row k has the k-th cosine.
at::Tensor cosines() {
  at::Tensor matrix = at::empty({kSide, kSide}, at::kDouble);
  auto* out = matrix.mutable_data_ptr<double>();
  for (int64_t k = 0; k < kSide; ++k) {
    for (int64_t x = 0; x < kSide; ++x) {
      const double angle = std::numbers::pi * (2 * static_cast<double>(x) + 1) * static_cast<double>(k) / 16;
      out[k * kSide + x] = (k == 0 ? std::sqrt(0.125) : 0.5) * std::cos(angle);
    }
  }
  return matrix;
}

at::Tensor steps_of(double quality) {
  const double scale = quality < 50 ? 5000 / quality : 200 - 2 * quality;
  at::Tensor steps = at::empty({kSide, kSide}, at::kDouble);
  auto* out = steps.mutable_data_ptr<double>();
  for (size_t i = 0; i < kSteps.size(); ++i) {
    out[i] = std::clamp(std::floor((kSteps[i] * scale + 50) / 100), 1.0, 255.0);
  }
  return steps;
}

at::Tensor apply(const at::Tensor& images, int64_t severity, uint64_t /*key*/, int64_t /*first_index*/) {
  const int64_t height = images.size(2);
  const int64_t width = images.size(3);
  const at::Tensor padded = at::replication_pad2d(
      images.to(at::kDouble), {0, (kSide - width % kSide) % kSide, 0, (kSide - height % kSide) % kSide});
  const at::Tensor blocks = padded.unfold(2, kSide, kSide).unfold(3, kSide, kSide) * 255 - 128;
  const at::Tensor cosine = cosines();
  const at::Tensor steps = steps_of(kQuality.at(static_cast<size_t>(severity - 1)));
  const at::Tensor kept = (at::matmul(at::matmul(cosine, blocks), cosine.t()) / steps).round() * steps;
  const at::Tensor pixels = (at::matmul(at::matmul(cosine.t(), kept), cosine) + 128) / 255;
  return pixels.permute({0, 1, 2, 4, 3, 5})
      .reshape(padded.sizes())
      .narrow(2, 0, height)
      .narrow(3, 0, width)
      .to(at::kFloat);
}

const bool registered = [] {
  shift_registry().add(
      "jpeg", {"jpeg", "arXiv:1903.12261", "compressed with a quality of 50, 25, 15, 10 or 5", apply});
  return true;
}();

}  // namespace
}  // namespace fusegrid::shifts::jpeg
