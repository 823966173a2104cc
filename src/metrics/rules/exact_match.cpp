// Exact match: how many answers are the wanted text. An example has one number: 1 where its answer is, else 0.

#include "metrics/metric.h"

namespace fusegrid::metrics::exact_match {
namespace {

const bool registered = [] {
  metric_registry().add(
      "exact_match",
      {.name = "exact_match",
       .title = "Exact match",
       .doc = "examples whose answer is the wanted text, without spaces around it, divided by all examples",
       .undefined = "",
       .better = Better::kHigher,
       .unit = Unit::kFraction,
       .finish = mean_of_rows});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::exact_match
