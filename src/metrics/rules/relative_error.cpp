// Relative error of depths. An example has two numbers: the sum over its pixels of |answer - depth| / depth, and the
// number of pixels whose depth is known.

#include "metrics/metric.h"

namespace fusegrid::metrics::relative_error {
namespace {

const bool registered = [] {
  metric_registry().add(
      "relative_error",
      {.name = "relative_error",
       .title = "Relative error",
       .doc = "mean over all pixels of the distance of answer and depth, divided by the depth",
       .undefined = "no depth is known",
       .better = Better::kLower,
       .unit = Unit::kNone,
       .width = 2,
       .finish = ratio_of_sums});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::relative_error
