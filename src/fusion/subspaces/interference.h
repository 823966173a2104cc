// The interference of a merged matrix with its experts where their task vectors stand for their inputs: what WUDI's
// closed forms share.
#pragma once

#include <functional>

#include <ATen/core/Tensor.h>

#include "fusion/fusion_input.h"

namespace fusegrid {

// sum_i c_i |(tau - tau_i) tau_i^T|^2 of a matrix [out, in] is least where tau C = D, C = sum_i c_i tau_i^T tau_i and D
// = sum_i c_i tau_i tau_i^T tau_i. float64, on the device of the slice.
struct Interference {
  at::Tensor sum;      // sum_i tau_i, [out, in]
  at::Tensor target;   // D, [out, in]
  at::Tensor values;   // of C, descending, not below 0: [in]
  at::Tensor vectors;  // of C, in columns: [in, in]
};

// What eigenvalues count as at least in SWUDI and ASWUDI; of their authors' code.
inline constexpr double kLeastEigenvalue = 1e-8;

// normalised: c_i = 1 / |tau_i|^2, experts that did not change the matrix left out; else c_i = 1.
Interference interference(const Slice& slice, bool normalised);

// start + (D C^+ - start) V diag(filter) V^T, filter in [0, 1] of each eigenvalue: 1 solves the equations in that
// direction, 0 keeps the start. Eigenvalues count as `least` at least where they are divided by.
at::Tensor filtered_solution(const Interference& parts, const at::Tensor& start, const at::Tensor& filter,
                             double least);

}  // namespace fusegrid
