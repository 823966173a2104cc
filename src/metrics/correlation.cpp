#include "metrics/correlation.h"

#include <algorithm>
#include <cmath>

namespace fusegrid {
namespace {

constexpr double kLeastSpread = 1e-6;  // variance, relative to the mean square; its rounding is up to 6e-8

}  // namespace

void add_pair(std::vector<float>& rows, float x, float y) {
  rows.insert(rows.end(), {x, y, x * x, y * y, x * y});
}

std::optional<double> correlation(std::span<const double> sums, double pairs) {
  const double of_x = sums[2] - sums[0] * sums[0] / pairs;
  const double of_y = sums[3] - sums[1] * sums[1] / pairs;
  const double of_both = sums[4] - sums[0] * sums[1] / pairs;
  if (of_x <= kLeastSpread * sums[2] || of_y <= kLeastSpread * sums[3]) {
    return std::nullopt;
  }
  return std::clamp(of_both / std::sqrt(of_x * of_y), -1.0, 1.0);
}

}  // namespace fusegrid
