// Token F1: how many words of answers and wanted texts agree. An example has one number: its F1
// (metrics/text_overlap.h).

#include "metrics/metric.h"

namespace fusegrid::metrics::token_f1 {
namespace {

const bool registered = [] {
  metric_registry().add(
      "token_f1",
      {.name = "token_f1",
       .title = "Token F1",
       .doc = "mean over the examples of the F1 of words, which spaces divide, of answer and wanted text",
       .undefined = "",
       .better = Better::kHigher,
       .unit = Unit::kFraction,
       .finish = mean_of_rows});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::token_f1
