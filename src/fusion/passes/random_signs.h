// The random context matrices of RanDeS: diagonal, with entries +1 and -1.
#pragma once

#include <ATen/core/Tensor.h>

#include "fusion/fusion_input.h"

namespace fusegrid {

// The diagonal for the columns (last dimension) of a tensor in the superposition of `expert`'s task: float32 [columns]
// on the CPU, [1] for a scalar. They are Philox numbers of (seed, task, tensor, column) alone.
// Source: Zhou et al., arXiv:2505.11204; FusionBench's random_binary_diagonal_matrix.
at::Tensor column_signs(const FusionInput& in, size_t expert, const TensorInfo& tensor);

}  // namespace fusegrid
