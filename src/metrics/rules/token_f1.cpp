// Token F1: how many words of answers and wanted texts agree. An example has one number: its F1
// (metrics/text_overlap.h).

#include "metrics/metric.h"

namespace fusegrid::metrics::token_f1 {
namespace {

const bool registered = [] {
  metric_registry().add(
      "token_f1",
      fraction_rule(
          "token_f1", "Token F1",
          "mean over the examples of the F1 of words, which spaces divide, of answer and wanted text"));
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::token_f1
