// Bits per byte: a perplexity that models of different tokenizers can be compared by. An example has two numbers: minus
// the binary logarithm of its probability, and the bytes of the text that was predicted.

#include "metrics/metric.h"

namespace fusegrid::metrics::bits_per_byte {
namespace {

std::optional<double> finish(std::span<const double> sums, double) {
  return sums[1] > 0 ? std::optional(sums[0] / sums[1]) : std::nullopt;
}

const bool registered = [] {
  metric_registry().add("bits_per_byte", {.name = "bits_per_byte",
                                          .title = "Bits per byte",
                                          .doc = "−log2 p of all tokens, divided by the bytes of their text",
                                          .undefined = "there is no text",
                                          .better = Better::kLower,
                                          .unit = Unit::kNone,
                                          .width = 2,
                                          .finish = finish});
  return true;
}();

}  // namespace
}  // namespace fusegrid::metrics::bits_per_byte
