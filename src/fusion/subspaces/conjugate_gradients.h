// Conjugate gradients on matrices.
#pragma once

#include <cstdint>
#include <functional>

#include <ATen/core/Tensor.h>

namespace fusegrid {

struct Solution {
  at::Tensor x;
  int64_t iterations = 0;
  double residual = 0;  // |b - A x| / |b|, of the x that is returned; 0 where b and A x are
};

// x with A(x) = b, from `start` on: `apply` is a symmetric, positive semidefinite linear map of matrices shaped like b,
// float64. Ends at |b - A x| <= tolerance |b|, or after so many iterations. The error shrinks with every step in the
// norm of A; what of `start` A does not see stays in x. Source: Hestenes & Stiefel, 1952.
Solution conjugate_gradients(const std::function<at::Tensor(const at::Tensor&)>& apply, const at::Tensor& b,
                             const at::Tensor& start, int64_t iterations, double tolerance);

}  // namespace fusegrid
