#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace fusegrid {

// uniform() of core/philox.h on a device, made there where that saves the transfer: the same numbers everywhere.
at::Tensor uniform_on(at::Device device, uint64_t key, uint64_t stream, int64_t begin, int64_t count);

}  // namespace fusegrid
