// ROUGE-L: how long a sequence of words answers and wanted texts share. An example has one number: its F1.

#include "metrics/metric.h"

namespace fusegrid::metrics::rouge_l {
namespace {

const bool registered = [] {
  metric_registry().add("rouge_l", fraction_rule("rouge_l", "ROUGE-L",
                                                 "mean over the examples of the F1 of the longest common "
                                                 "subsequence of words in lower case (Lin 2004)"));
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::rouge_l
