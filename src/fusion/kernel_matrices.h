#pragma once

#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "fusion/slice.h"

namespace fusegrid {

// What a pass makes of a slice: one tensor, or one for each model.
using OfSlice = std::function<at::Tensor(const Slice&)>;
using AllOfSlice = std::function<std::vector<at::Tensor>(const Slice&)>;

// A function of whole tensors to which the kernels of convolutions, [out, in, ...], are the matrices [out, in ...] that
// map unfolded inputs: the slice it sees, with what it reads of fields, has their shape, and its results have the
// kernel's again.
OfSlice with_kernel_matrices(OfSlice fuse);
AllOfSlice with_kernel_matrices(AllOfSlice fuse);

}  // namespace fusegrid
