// Mean IoU of a segmentation: the mean over classes of the intersection of predicted and true pixels over their union.
//
// An example has two numbers for each of K classes: pixels of both, K of them, and behind these the pixels of either.
// Their sums are those of one confusion matrix over all examples. A class that no pixel has or is predicted to have is
// left out.
//
// Source:  Everingham et al., "The Pascal Visual Object Classes Challenge", IJCV 2015, section 4.3, of which it is the
//          mean over all classes, also the background.

#include "metrics/metric.h"

namespace fusegrid::metrics::mean_iou {
namespace {

std::optional<double> finish(std::span<const double> sums, double) {
  const size_t classes = sums.size() / 2;
  double total = 0;
  int64_t present = 0;
  for (size_t k = 0; k < classes; ++k) {
    if (sums[classes + k] > 0) {
      total += sums[k] / sums[classes + k];
      ++present;
    }
  }
  return present > 0 ? std::optional(total / static_cast<double>(present)) : std::nullopt;
}

const bool registered = [] {
  metric_registry().add("mean_iou",
                        {.name = "mean_iou",
                         .title = "Mean IoU",
                         .doc = "mean over the classes that occur of the pixels that have a class and are "
                                "predicted to, divided by those that have it or are predicted to",
                         .undefined = "no pixel has a class",
                         .better = Better::kHigher,
                         .unit = Unit::kFraction,
                         .width = MetricRule::kTwoPerClass,
                         .finish = finish});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::mean_iou
