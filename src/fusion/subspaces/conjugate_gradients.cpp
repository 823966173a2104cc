#include "fusion/subspaces/conjugate_gradients.h"

#include <cmath>

#include <ATen/TensorOperators.h>

namespace fusegrid {
namespace {

double inner(const at::Tensor& a, const at::Tensor& b) {
  return (a * b).sum().item<double>();
}

}  // namespace

Solution conjugate_gradients(const std::function<at::Tensor(const at::Tensor&)>& apply, const at::Tensor& b,
                             const at::Tensor& start, int64_t iterations, double tolerance) {
  Solution solution{start.clone()};
  const double size = std::sqrt(inner(b, b));
  at::Tensor residual = b - apply(solution.x);
  at::Tensor direction = residual.clone();
  double squared = inner(residual, residual);
  while (solution.iterations < iterations && std::sqrt(squared) > tolerance * size) {
    const at::Tensor image = apply(direction);
    const double curvature = inner(direction, image);
    if (curvature <= 0) {
      break;  // a direction that A does not see: rounding is all that is left
    }
    const double step = squared / curvature;
    solution.x.add_(direction, step);
    residual.sub_(image, step);
    const double next = inner(residual, residual);
    direction = residual + direction * (next / squared);
    squared = next;
    ++solution.iterations;
  }
  const at::Tensor left = b - apply(solution.x);
  const double error = std::sqrt(inner(left, left));
  solution.residual = error == 0 ? 0 : error / size;
  return solution;
}

}  // namespace fusegrid
