// Accuracy: how many answers are right. An example has one number: 1 where its answer is right, else 0.

#include "metrics/metric.h"

namespace fusegrid::metrics::accuracy {
namespace {

const bool registered = [] {
  metric_registry().add(
      "accuracy", fraction_rule("accuracy", "Accuracy",
                                "examples whose predicted class is the label, divided by all examples"));
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::accuracy
