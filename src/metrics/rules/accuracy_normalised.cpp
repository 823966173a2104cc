// Accuracy of choices whose length has no part: how many answers are right that maximise the logarithm of the
// likelihood divided by the bytes of the text. An example has one number: 1 where its answer is right, else 0.
//
// Source: Gao et al., "A framework for few-shot language model evaluation", acc_norm.

#include "metrics/metric.h"

namespace fusegrid::metrics::accuracy_normalised {
namespace {

const bool registered = [] {
  metric_registry().add(
      "accuracy_normalised",
      fraction_rule(
          "accuracy_normalised", "Accuracy by byte",
          "examples whose label has the highest log p divided by the bytes of its text, of all examples"));
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::accuracy_normalised
