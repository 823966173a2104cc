// Recall among the first: an example has the mean of two numbers, one of each direction, 1 where it is found, else 0.

#include "metrics/metric.h"

namespace fusegrid::metrics::recall_1 {
namespace {

const bool registered = [] {
  metric_registry().add("recall_1", fraction_rule("recall_1", "R@1",
                                                  "pictures whose text is the first of all texts, and texts "
                                                  "whose picture is the first, divided by all"));
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::recall_1
