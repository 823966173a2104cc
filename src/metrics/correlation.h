#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace fusegrid {

// The numbers of an example whose sums correlation() takes: x, y, x x, y y, x y. They are float32, so where numbers
// spread by less than a thousandth of their size nothing of it is left in the sums: they count as all alike. Record
// numbers of the size of their spread.
void add_pair(std::vector<float>& rows, float x, float y);
constexpr int64_t kPairWidth = 5;

// Pearson's correlation coefficient of pairs with these sums, in [-1, 1]; nullopt where one side is all alike.
std::optional<double> correlation(std::span<const double> sums, double pairs);

}  // namespace fusegrid
