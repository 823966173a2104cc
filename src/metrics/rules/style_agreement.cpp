// Style agreement: how many pictures are judged to show what was asked for. An example has one number: 1 where it is
// so, else 0.

#include "metrics/metric.h"

namespace fusegrid::metrics::style_agreement {
namespace {

const bool registered = [] {
  metric_registry().add(
      "style_agreement",
      fraction_rule(
          "style_agreement", "Style agreement",
          "pictures of which the pack's judge says the style that was asked for, divided by all pictures"));
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::style_agreement
