// Macro F1: the mean over classes of F1, the harmonic mean of precision and recall.
//
//   F1 of class k = 2 hits / (labels + answers) of k
//
// A class that neither a label nor an answer has is left out; one that answers alone have counts 0.
//
// Source:  Opitz & Burst, "Macro F1 and Macro F1", 2019, arXiv:1911.03347: the mean of the classes' F1, not the F1 of
//          mean precision and mean recall.

#include "metrics/metric.h"

namespace fusegrid::metrics::macro_f1 {
namespace {

std::optional<double> finish(std::span<const double> sums, double examples) {
  double of_classes = 0;
  int64_t classes = 0;
  for (size_t k = 0; k < sums.size(); k += 3) {
    const double labels = sums[k];
    const double answers = sums[k + 1];
    if (labels == examples) {
      return std::nullopt;
    }
    if (labels + answers > 0) {
      of_classes += 2 * sums[k + 2] / (labels + answers);
      ++classes;
    }
  }
  return of_classes / static_cast<double>(classes);
}

const bool registered = [] {
  metric_registry().add("macro_f1",
                        {.name = "macro_f1",
                         .title = "Macro F1",
                         .doc = "mean of 2 *h* / (*l* + *a*) over the classes that occur: *l* labels, *a* "
                                "answers, *h* examples with both",
                         .undefined = "all labels are of one class",
                         .better = Better::kHigher,
                         .unit = Unit::kFraction,
                         .row = MetricRow::kClassCounts,
                         .finish = finish});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::macro_f1
