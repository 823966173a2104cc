// Absolute error of depths. An example has two numbers: the sum over its pixels of |answer - depth|, in metres, and the
// number of pixels whose depth is known.

#include "metrics/metric.h"

namespace fusegrid::metrics::absolute_error {
namespace {

const bool registered = [] {
  metric_registry().add("absolute_error", {.name = "absolute_error",
                                           .title = "Absolute error",
                                           .doc = "mean over all pixels of the distance of answer and depth",
                                           .undefined = "no depth is known",
                                           .better = Better::kLower,
                                           .unit = Unit::kMetres,
                                           .width = 2,
                                           .finish = ratio_of_sums});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::absolute_error
