// Recall of images: an example has 1 where the picture of its text is found first, else 0.

#include "metrics/metric.h"

namespace fusegrid::metrics::image_recall_1 {
namespace {

const bool registered = [] {
  metric_registry().add("image_recall_1",
                        {.name = "image_recall_1",
                         .title = "R@1 of images",
                         .doc = "texts whose picture is the first of all pictures, divided by all",
                         .undefined = "",
                         .better = Better::kHigher,
                         .unit = Unit::kFraction,
                         .finish = mean_of_rows});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::image_recall_1
