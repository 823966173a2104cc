// Cross-entropy. An example has one number: -log p(label), in nats.

#include "metrics/metric.h"

namespace fusegrid::metrics::loss {
namespace {

const bool registered = [] {
  metric_registry().add("loss", {.name = "loss",
                                 .title = "Cross-entropy",
                                 .doc = "mean over the examples of −log p(label)",
                                 .undefined = "",
                                 .better = Better::kLower,
                                 .unit = Unit::kNats,
                                 .finish = mean_of_rows});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::loss
