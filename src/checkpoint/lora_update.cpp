#include "checkpoint/lora_update.h"

#include <algorithm>
#include <array>

namespace fusegrid {
namespace {

constexpr int64_t kColumns = 256;  // of a tile of the product: the tile of the factor stays in the L1 cache

// out[j] += scale * sum_k row[k] * right[k][j] of the columns [first, last): element by element in the order of
// k, whatever the columns are.
void add_row(const float* row, const std::vector<float>& right, const int64_t rank, int64_t cols, float scale,
             int64_t first, int64_t last, float* out) {
  std::array<float, static_cast<size_t>(kColumns)> sums{};
  const int64_t count = last - first;
  for (int64_t k = 0; k < rank; ++k) {
    const float factor = row[k];
    const float* const values = right.data() + k * cols + first;
    for (int64_t j = 0; j < count; ++j) {
      sums[static_cast<size_t>(j)] += factor * values[j];
    }
  }
  for (int64_t j = 0; j < count; ++j) {
    out[j] += scale * sums[static_cast<size_t>(j)];
  }
}

}  // namespace

void add_low_rank(const std::vector<float>& left, const std::vector<float>& right, int64_t rank, int64_t cols,
                  float scale, int64_t begin, int64_t count, float* values) {
  if (count == 0) {
    return;
  }
  const int64_t end = begin + count;
  const int64_t first_row = begin / cols;
  const int64_t rows = (end - 1) / cols - first_row + 1;
  for (int64_t column = 0; column < cols; column += kColumns) {
    const int64_t columns = std::min(kColumns, cols - column);
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t row_begin = (first_row + i) * cols;
      const int64_t first = std::max(begin - row_begin, column);
      const int64_t last = std::min(end - row_begin, column + columns);
      if (first < last) {
        add_row(left.data() + i * rank, right, rank, cols, scale, first, last,
                values + row_begin + first - begin);
      }
    }
  }
}

}  // namespace fusegrid
