#include "report/score.h"

#include <algorithm>
#include <cmath>

#include "core/errors.h"

namespace fusegrid {

bool TaskMetric::same_as(const TaskMetric& other) const {
  return name == other.name && better == other.better && unit == other.unit;
}

TaskMetric primary_metric(const Records& records, const std::string& zoo, const std::string& task) {
  const auto found = records.tasks.find({zoo, task});
  if (found == records.tasks.end()) {
    throw DataError("results describe every task of their cells, but '" + task + "' of the zoo '" + zoo +
                    "' is not described; run the cells of that task again");
  }
  const TaskRecord& record = found->second;
  TaskMetric metric{.name = record.metric,
                    .title = record.metric,
                    .better = parse_better(record.better),
                    .unit = record.unit};
  if (metric_registry().contains(metric.name)) {
    metric.rule = {std::shared_ptr<const MetricRule>(), &metric_registry().at(metric.name)};  // stays
    metric.title = metric.rule->title;
    metric.tolerance = metric.rule->tolerance;
  } else if (record.kind == kExternalKind) {
    metric.rule = std::make_shared<MetricRule>(mean_rule(metric.name, metric.better));
  }
  return metric;
}

Score score_of(const std::vector<TaskMetric>& metrics) {
  const TaskMetric& first = metrics.at(0);
  if (std::all_of(metrics.begin(), metrics.end(),
                  [&](const auto& metric) { return metric.same_as(first); })) {
    return {first.name, first.title, first.better, first.unit, false};
  }
  return {"relative score", "Relative score", Better::kHigher, to_string(Unit::kFraction), true};
}

double relative_score(Better better, double value, double own) {
  if (better == Better::kHigher && own > 0) {
    return value / own;  // the same number
  }
  const double gain = better == Better::kHigher ? value - own : own - value;
  return 1 + gain / std::abs(own);
}

}  // namespace fusegrid
