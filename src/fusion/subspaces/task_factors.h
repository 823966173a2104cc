// Task vectors as products of two thin matrices: what methods for LoRA work on.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "fusion/subspaces/svd.h"

namespace fusegrid {

// tau = b a^T, float64 on the device of the slice.
struct TaskFactors {
  at::Tensor b;  // [rows, k]
  at::Tensor a;  // [columns, k]
};

// Of the task vector of `expert` in a pass over whole tensors: its own where it is stored as factors of at most `rank`
// columns, each with the root of their scale; else the balanced ones of its `rank` leading significant triplets,
// b = U S^1/2 and a = V S^1/2. rank = 0: of any rank, and all triplets.
TaskFactors factors_of(const FusionInput& in, const Slice& slice, size_t expert, int64_t rank);

}  // namespace fusegrid
