// Pixel accuracy of a segmentation. An example has two numbers: pixels whose predicted class is the true one, and all
// pixels that have a class.

#include "metrics/metric.h"

namespace fusegrid::metrics::pixel_accuracy {
namespace {

const bool registered = [] {
  metric_registry().add(
      "pixel_accuracy",
      {.name = "pixel_accuracy",
       .title = "Pixel accuracy",
       .doc = "pixels whose predicted class is the true one, divided by all that have a class",
       .undefined = "no pixel has a class",
       .better = Better::kHigher,
       .unit = Unit::kFraction,
       .width = 2,
       .finish = ratio_of_sums});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::pixel_accuracy
