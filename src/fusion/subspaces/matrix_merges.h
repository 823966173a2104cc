// How subspace methods merge the matrices of one parameter, whatever space they are written in. Float64 on the device
// of the arguments, which stay as they are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "fusion/subspaces/svd.h"

namespace fusegrid {

// TIES of a parameter on its own: of each of `values`, which have one shape, the `kept` entries of largest magnitude
// (of equal ones the first), then the sign of their sum (zero: -), then the "sum" or "mean" of those that agree.
// Negating an entry in all of `values` negates it in the result, but where its sum is zero.
at::Tensor ties_of_parameter(const std::vector<at::Tensor>& values, int64_t kept, const std::string& merge);

// TSV-M's step: polar(U) S polar(V)^T of U = [U_1 .. U_N], S = diag(S_1 .. S_N), V = [V_1 .. V_N].
// Source: Gargiulo et al., CVPR 2025, arXiv:2412.00081, Algorithm 1.
at::Tensor orthogonalised_sum(const std::vector<Svd>& parts);

// Iso-C's step: every significant singular value becomes their sum over `directions` (>= 1), which is their mean where
// all of so many are significant. Source: Marczak et al., ICML 2025, arXiv:2502.04959, Algorithm 1.
at::Tensor isotropic(const at::Tensor& matrix, int64_t directions);

}  // namespace fusegrid
