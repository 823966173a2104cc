// Recall among the first five: an example has the mean of two numbers, one of each direction.

#include "metrics/metric.h"

namespace fusegrid::metrics::recall_5 {
namespace {

const bool registered = [] {
  metric_registry().add("recall_5", {.name = "recall_5",
                                     .title = "R@5",
                                     .doc = "the same among the first five",
                                     .undefined = "",
                                     .better = Better::kHigher,
                                     .unit = Unit::kFraction,
                                     .finish = mean_of_rows});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::recall_5
