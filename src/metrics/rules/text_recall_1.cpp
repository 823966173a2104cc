// Recall of texts: an example has 1 where the text of its picture is found first, else 0.

#include "metrics/metric.h"

namespace fusegrid::metrics::text_recall_1 {
namespace {

const bool registered = [] {
  metric_registry().add("text_recall_1",
                        {.name = "text_recall_1",
                         .title = "R@1 of texts",
                         .doc = "pictures whose text is the first of all texts, divided by all",
                         .undefined = "",
                         .better = Better::kHigher,
                         .unit = Unit::kFraction,
                         .finish = mean_of_rows});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::text_recall_1
