// ROUGE-L: how long a sequence of words answers and wanted texts share. An example has one number: its F1.

#include "metrics/metric.h"

namespace fusegrid::metrics::rouge_l {
namespace {

const bool registered = [] {
  metric_registry().add("rouge_l", {.name = "rouge_l",
                                    .title = "ROUGE-L",
                                    .doc = "mean over the examples of the F1 of the longest common "
                                           "subsequence of words in lower case (Lin 2004)",
                                    .undefined = "",
                                    .better = Better::kHigher,
                                    .unit = Unit::kFraction,
                                    .finish = mean_of_rows});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::rouge_l
