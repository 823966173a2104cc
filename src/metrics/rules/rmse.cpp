// Root mean squared error of answers x and labels y. An example has one number: (x - y)^2.

#include <cmath>

#include "metrics/metric.h"

namespace fusegrid::metrics::rmse {
namespace {

std::optional<double> finish(std::span<const double> sums, double examples) {
  return std::sqrt(sums[0] / examples);
}

const bool registered = [] {
  metric_registry().add(
      "rmse", {.name = "rmse",
               .title = "RMSE",
               .doc = "root of the mean squared difference of answers and labels, in the labels' unit",
               .undefined = "",
               .better = Better::kLower,
               .unit = Unit::kNone,
               .finish = finish});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::rmse
