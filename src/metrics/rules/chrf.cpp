// chrF: how many n-grams of characters answers and wanted texts share. An example has 18 numbers, see ngram_counts().

#include "metrics/metric.h"
#include "metrics/text_overlap.h"

namespace fusegrid::metrics::chrf {
namespace {

std::optional<double> finish(std::span<const double> sums, double) {
  return fusegrid::chrf(sums);
}

const bool registered = [] {
  metric_registry().add(
      "chrf", {.name = "chrf",
               .title = "chrF",
               .doc = "F2 of character n-grams of 1 to 6, counted over all examples together (Popović 2015)",
               .undefined = "",
               .better = Better::kHigher,
               .unit = Unit::kFraction,
               .width = 3 * kLongestNgram,
               .finish = finish});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::chrf
