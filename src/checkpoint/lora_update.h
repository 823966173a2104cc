#pragma once

#include <cstdint>
#include <vector>

namespace fusegrid {

// values += scale * (left right) of the elements [begin, begin + count) of the product, counted in C order; every
// element for itself, in float32, its products added in the order of the rank, whatever the range is.
//   left   rows [begin / cols, (begin + count - 1) / cols] of the left factor, [rows, rank]
//   right  [rank, cols]
//   values [count]
void add_low_rank(const std::vector<float>& left, const std::vector<float>& right, int64_t rank, int64_t cols,
                  float scale, int64_t begin, int64_t count, float* values);

}  // namespace fusegrid
