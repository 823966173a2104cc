// Pearson's correlation coefficient of answers x and labels y.
//
// An example has five numbers: x, y, x x, y y, x y. They are float32, so where numbers spread by less than a thousandth
// of their size nothing of it is left in the sums: they count as all alike. Record numbers of the size of their spread.
//
// Source:  Pearson, "Notes on regression and inheritance in the case of two parents", Proceedings of the Royal Society
//          of London 58, 1895.

#include <algorithm>
#include <cmath>

#include "metrics/metric.h"

namespace fusegrid::metrics::pearson {
namespace {

constexpr double kLeastSpread = 1e-6;  // variance, relative to the mean square; its rounding is up to 6e-8

std::optional<double> finish(std::span<const double> sums, double examples) {
  const double of_answers = sums[2] - sums[0] * sums[0] / examples;
  const double of_labels = sums[3] - sums[1] * sums[1] / examples;
  const double of_both = sums[4] - sums[0] * sums[1] / examples;
  if (of_answers <= kLeastSpread * sums[2] || of_labels <= kLeastSpread * sums[3]) {
    return std::nullopt;
  }
  return std::clamp(of_both / std::sqrt(of_answers * of_labels), -1.0, 1.0);
}

const bool registered = [] {
  metric_registry().add("pearson",
                        {.name = "pearson",
                         .title = "Pearson",
                         .doc = "Pearson's correlation coefficient of answers and labels, in [−1, 1]",
                         .undefined = "all answers or all labels are alike",
                         .better = Better::kHigher,
                         .unit = Unit::kNone,
                         .width = 5,
                         .finish = finish});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::pearson
