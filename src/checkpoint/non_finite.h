#pragma once

#include <cstdint>

#include <c10/core/ScalarType.h>

namespace fusegrid {

// How many of `count` elements of a floating dtype are NaN, infinite, or (float64) beyond float32, in which merges
// compute. On the host. Fast where there are none: it looks at all that a merge reads and writes.
int64_t count_non_finite(const void* elements, c10::ScalarType dtype, int64_t count);

}  // namespace fusegrid
