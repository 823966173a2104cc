// Mean angle between answered and true normals. An example has two numbers: the sum over its pixels of the angle, in
// degrees, and the number of pixels whose normal is known.

#include "metrics/metric.h"

namespace fusegrid::metrics::mean_angle {
namespace {

const bool registered = [] {
  metric_registry().add("mean_angle", {.name = "mean_angle",
                                       .title = "Mean angle",
                                       .doc = "mean over all pixels of the angle between answer and normal",
                                       .undefined = "no normal is known",
                                       .better = Better::kLower,
                                       .unit = Unit::kDegrees,
                                       .width = 2,
                                       .finish = ratio_of_sums,
                                       .tolerance = 0.1});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::mean_angle
