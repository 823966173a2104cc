#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace fusegrid {

// Sinkhorn's iteration: exp(scores / temperature) scaled to rows that sum to 1 and columns that sum to n / m, which is
// the matrix P of such sums that maximises sum P scores + temperature * entropy(P). Where the temperature goes to 0 it
// goes to the best of them, if that is unique: between as many rows as columns the best assignment. In the logarithm,
// so that low temperatures do not underflow; gradients flow through.
//   scores       float [n, m]
//   temperature  > 0, in units of the scores
//   iterations   at most, each of all rows and all columns; it stops where the rows' sums are 1 up to `tolerance`
//   Returns      [n, m], dtype and device of the scores; the columns' sums are n / m to rounding
// Source: Cuturi, "Sinkhorn Distances", NeurIPS 2013, arXiv:1306.0895; Mena et al., "Learning Latent Permutations with
// Gumbel-Sinkhorn Networks", ICLR 2018, arXiv:1802.08665.
at::Tensor sinkhorn(const at::Tensor& scores, double temperature, int64_t iterations, double tolerance = 0);

}  // namespace fusegrid
