// Exact match: how many answers are the wanted text. An example has one number: 1 where its answer is, else 0.

#include "metrics/metric.h"

namespace fusegrid::metrics::exact_match {
namespace {

const bool registered = [] {
  metric_registry().add(
      "exact_match",
      fraction_rule(
          "exact_match", "Exact match",
          "examples whose answer is the wanted text, without spaces around it, divided by all examples"));
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::exact_match
