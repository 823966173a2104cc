// Recall of texts: an example has 1 where the text of its picture is found first, else 0.

#include "metrics/metric.h"

namespace fusegrid::metrics::text_recall_1 {
namespace {

const bool registered = [] {
  metric_registry().add("text_recall_1",
                        fraction_rule("text_recall_1", "R@1 of texts",
                                      "pictures whose text is the first of all texts, divided by all"));
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::text_recall_1
