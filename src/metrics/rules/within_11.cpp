// Share of normals that are met within 11.25 degrees. An example has two numbers: the pixels whose answer is less than
// that far from the normal, and those whose normal is known.
//
// Source:  Fouhey et al., "Data-Driven 3D Primitives for Single Image Understanding", ICCV 2013: the smallest of its
//          three limits.

#include "metrics/metric.h"

namespace fusegrid::metrics::within_11 {
namespace {

const bool registered = [] {
  metric_registry().add(
      "within_11",
      {.name = "within_11",
       .title = "Within 11.25°",
       .doc = "pixels whose answer is less than 11.25° from the normal, divided by all with a normal",
       .undefined = "no normal is known",
       .better = Better::kHigher,
       .unit = Unit::kFraction,
       .width = 2,
       .finish = ratio_of_sums});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::within_11
