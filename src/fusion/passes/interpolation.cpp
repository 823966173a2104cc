#include "fusion/passes/interpolation.h"

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>
#include <ATen/ops/dot.h>

namespace fusegrid {

at::Tensor slerp(const at::Tensor& a, const at::Tensor& b, double t, double threshold) {
  const at::Tensor flat_a = a.reshape({-1}).to(at::kDouble);
  const at::Tensor flat_b = b.reshape({-1}).to(at::kDouble);
  const double norm_a = flat_a.norm().item<double>() + 1e-8;
  const double norm_b = flat_b.norm().item<double>() + 1e-8;
  const double cosine = at::dot(flat_a, flat_b).item<double>() / (norm_a * norm_b);
  double weight_a = 1 - t;
  double weight_b = t;
  const double angle = std::acos(std::clamp(cosine, -1.0, 1.0));
  if (std::abs(cosine) <= threshold && std::sin(angle) > 0) {
    weight_a = std::sin((1 - t) * angle) / std::sin(angle);
    weight_b = std::sin(t * angle) / std::sin(angle);
  }
  return at::add(a * weight_a, b, weight_b);
}

}  // namespace fusegrid
