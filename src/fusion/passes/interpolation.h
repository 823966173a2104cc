#pragma once

#include <ATen/core/Tensor.h>

namespace fusegrid {

// The point `t` of the arc from `a` (t = 0) to `b` (t = 1), as FusionBench and mergekit have it: angles from
// float64 norms + 1e-8, a straight line where |cosine| > threshold. Same shapes, dtype of `a`. Source: Shoemake,
// SIGGRAPH 1985.
at::Tensor slerp(const at::Tensor& a, const at::Tensor& b, double t, double threshold);

}  // namespace fusegrid
