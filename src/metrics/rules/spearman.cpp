// Spearman's rank correlation of answers x and labels y. An example has five numbers (metrics/correlation.h) of the
// ranks of x and y in the whole split, divided by the number of examples: any part of a split is one of these ranks.
//
// Source:  Spearman, "The proof and measurement of association between two things", American Journal of Psychology 15,
//          1904; ties have the mean of their ranks.

#include "metrics/correlation.h"
#include "metrics/metric.h"

namespace fusegrid::metrics::spearman {
namespace {

const bool registered = [] {
  metric_registry().add("spearman",
                        {.name = "spearman",
                         .title = "Spearman",
                         .doc = "Spearman's rank correlation of answers and labels, in [−1, 1]; an answer "
                                "that is no number counts as 0",
                         .undefined = "all answers or all labels are alike, or no numbers are wanted",
                         .better = Better::kHigher,
                         .unit = Unit::kNone,
                         .width = kPairWidth,
                         .finish = correlation});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::spearman
