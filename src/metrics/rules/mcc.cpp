// Matthews correlation coefficient, for any number of classes.
//
//   (c n - sum_k l_k a_k) / sqrt((n^2 - sum_k a_k^2) (n^2 - sum_k l_k^2))
//
// with n examples, c right answers, and class k l_k times label and a_k times answer. 0 where all answers are of one
// class: such answers tell nothing, and the numerator is 0 as well.
//
// Source:  Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient", Computational
//          Biology and Chemistry 28, 2004; for two classes Matthews, 1975.

#include <cmath>

#include "metrics/metric.h"

namespace fusegrid::metrics::mcc {
namespace {

std::optional<double> finish(std::span<const double> sums, double examples) {
  double right = 0;
  double by_chance = 0;
  double labels = examples * examples;
  double answers = examples * examples;
  for (size_t k = 0; k < sums.size(); k += 3) {
    right += sums[k + 2];
    by_chance += sums[k] * sums[k + 1];
    labels -= sums[k] * sums[k];
    answers -= sums[k + 1] * sums[k + 1];
  }
  if (labels == 0) {
    return std::nullopt;
  }
  return answers == 0 ? 0 : (right * examples - by_chance) / std::sqrt(labels * answers);
}

const bool registered = [] {
  metric_registry().add("mcc",
                        {.name = "mcc",
                         .title = "MCC",
                         .doc = "Matthews correlation coefficient of classes and labels (Gorodkin 2004), in "
                                "[−1, 1]; 0 where all answers are of one class",
                         .undefined = "all labels are of one class",
                         .better = Better::kHigher,
                         .unit = Unit::kNone,
                         .row = MetricRow::kClassCounts,
                         .finish = finish});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::mcc
