// Agreement: how many pictures are judged to show what was asked for. An example
// has one number: 1 where it is so, else 0.

#include "metrics/metric.h"

namespace fusegrid::metrics::agreement {
namespace {

const bool registered = [] {
  metric_registry().add("agreement",
                        fraction_rule("agreement", "Agreement",
                                      "pictures of which the pack's judge says both the class and the style "
                                      "that were asked for, divided by all pictures"));
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::agreement
