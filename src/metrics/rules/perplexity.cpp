// Perplexity of a language model. An example has two numbers: minus the logarithm of its probability, and its tokens.

#include <cmath>

#include "metrics/metric.h"

namespace fusegrid::metrics::perplexity {
namespace {

std::optional<double> finish(std::span<const double> sums, double) {
  const double value = std::exp(sums[0] / sums[1]);
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

const bool registered = [] {
  metric_registry().add("perplexity", {.name = "perplexity",
                                       .title = "Perplexity",
                                       .doc = "exp of −log p (nats) of all tokens, divided by their number",
                                       .undefined = "its exponent is too large for a number",
                                       .better = Better::kLower,
                                       .unit = Unit::kNone,
                                       .width = 2,
                                       .finish = finish});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::perplexity
