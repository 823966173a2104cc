#pragma once

#include <ATen/core/Tensor.h>

namespace fusegrid {

// The Frechet distance of the normal distributions that have the means and covariances of two sets of features:
// |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2), with covariances that are divided by the number of rows. 0 for
// equal sets. In float64 on the CPU.
//   a, b   [n, features] and [m, features], finite
// Source: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", NeurIPS
//         2017, arXiv:1706.08500, section 4 (there of Inception's features).
double frechet_distance(const at::Tensor& a, const at::Tensor& b);

}  // namespace fusegrid
