#pragma once

#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "fusion/slice.h"

namespace fusegrid {

// A function of whole tensors to which the kernels of convolutions, [out, in, ...], are the matrices [out, in ...] that
// map unfolded inputs: the slice it sees, with what it reads of fields, has their shape, and its results have the
// kernel's again.
std::function<at::Tensor(const Slice&)> with_kernel_matrices(std::function<at::Tensor(const Slice&)> fuse);
std::function<std::vector<at::Tensor>(const Slice&)> with_kernel_matrices(
    std::function<std::vector<at::Tensor>(const Slice&)> fuse);

}  // namespace fusegrid
