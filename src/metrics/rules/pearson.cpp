// Pearson's correlation coefficient of answers x and labels y.
//
// An example has five numbers: x, y, x x, y y, x y.
//
// Source:  Pearson, "Notes on regression and inheritance in the case of two parents", Proceedings of the Royal Society
//          of London 58, 1895.

#include "metrics/correlation.h"
#include "metrics/metric.h"

namespace fusegrid::metrics::pearson {
namespace {

const bool registered = [] {
  metric_registry().add("pearson",
                        {.name = "pearson",
                         .title = "Pearson",
                         .doc = "Pearson's correlation coefficient of answers and labels, in [−1, 1]",
                         .undefined = "all answers or all labels are alike",
                         .better = Better::kHigher,
                         .unit = Unit::kNone,
                         .width = 5,
                         .finish = correlation});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::pearson
