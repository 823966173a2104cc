// Class agreement: how many pictures are judged to show what was asked for. An example has one number: 1 where it is
// so, else 0.

#include "metrics/metric.h"

namespace fusegrid::metrics::class_agreement {
namespace {

const bool registered = [] {
  metric_registry().add(
      "class_agreement",
      fraction_rule(
          "class_agreement", "Class agreement",
          "pictures of which the pack's judge says the class that was asked for, divided by all pictures"));
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::class_agreement
