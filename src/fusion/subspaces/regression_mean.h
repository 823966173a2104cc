// Least squares over the experts' linear layers: what RegMean and its relatives share.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

namespace fusegrid {

// x with A x = b for a symmetric, positive semidefinite A [n, n] and b [n, m], float64. By Cholesky's decomposition;
// where that finds A to be singular, the solution of least norm, without A's directions below n 2^-52 of its largest.
at::Tensor solve_semidefinite(const at::Tensor& matrix, const at::Tensor& right);

// The matrix W [out, in] that answers each expert's inputs as its own does, in the least-squares sense: the minimum of
// sum_i trace((W - W_i) G_i' (W - W_i)^T), where G_i' is G_i with its off-diagonal entries times `ratio`. Solved around
// the average, W = A + (G + ridge)^-1 (B - G A), so that directions which no input spans keep it. float32.
//   weights  [out, in] each, float32; grams  [in, in] each, float64; at least one of both
//   ridge    added to the diagonal of sum_i G_i', in units of its mean
// Source: Jin et al., "Dataless Knowledge Fusion by Merging Weights of Language Models" (RegMean), ICLR 2023,
// arXiv:2212.09849, equation 2.
at::Tensor regression_mean(const std::vector<at::Tensor>& weights, const std::vector<at::Tensor>& grams,
                           double ratio, double ridge);

}  // namespace fusegrid
