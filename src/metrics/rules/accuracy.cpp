// Accuracy: how many answers are right. An example has one number: 1 where its answer is right, else 0.

#include "metrics/metric.h"

namespace fusegrid::metrics::accuracy {
namespace {

const bool registered = [] {
  metric_registry().add("accuracy",
                        {.name = "accuracy",
                         .title = "Accuracy",
                         .doc = "examples whose predicted class is the label, divided by all examples",
                         .undefined = "",
                         .better = Better::kHigher,
                         .unit = Unit::kFraction,
                         .finish = mean_of_rows});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::accuracy
