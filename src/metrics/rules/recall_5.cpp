// Recall among the first five: an example has the mean of two numbers, one of each direction.

#include "metrics/metric.h"

namespace fusegrid::metrics::recall_5 {
namespace {

const bool registered = [] {
  metric_registry().add("recall_5", fraction_rule("recall_5", "R@5", "the same among the first five"));
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::recall_5
