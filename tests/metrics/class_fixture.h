// Values of class metrics from answers and labels.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "metrics/metric.h"

namespace fusegrid {

// The metric of these classes; answers first.
inline std::optional<double> class_value(const std::string& metric, const std::vector<int32_t>& answers,
                                         const std::vector<int32_t>& labels) {
  return value_of(metric_registry().at(metric), class_rows(answers, labels));
}

}  // namespace fusegrid
