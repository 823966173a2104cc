// Recall of images: an example has 1 where the picture of its text is found first, else 0.

#include "metrics/metric.h"

namespace fusegrid::metrics::image_recall_1 {
namespace {

const bool registered = [] {
  metric_registry().add("image_recall_1",
                        fraction_rule("image_recall_1", "R@1 of images",
                                      "texts whose picture is the first of all pictures, divided by all"));
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::image_recall_1
