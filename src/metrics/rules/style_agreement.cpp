// Style agreement: how many pictures are judged to show what was asked for. An example has one number: 1 where it is
// so, else 0.

#include "metrics/metric.h"

namespace fusegrid::metrics::style_agreement {
namespace {

const bool registered = [] {
  metric_registry().add(
      "style_agreement",
      {.name = "style_agreement",
       .title = "Style agreement",
       .doc = "pictures of which the pack's judge says the style that was asked for, divided by all pictures",
       .undefined = "",
       .better = Better::kHigher,
       .unit = Unit::kFraction,
       .finish = mean_of_rows});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::style_agreement
