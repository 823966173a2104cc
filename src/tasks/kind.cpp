#include "tasks/kind.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/exp.h>

#include "core/errors.h"

namespace fusegrid {

at::Tensor TaskKind::log_probabilities(const at::Tensor&) const {
  FUSEGRID_ASSERT(false, doc() + " has no distribution");
}

Registry<const TaskKind*>& kind_registry() {
  static Registry<const TaskKind*> registry("kind of task");
  return registry;
}

const TaskKind& task_kind(const std::string& name) {
  return *kind_registry().at(name);
}

void add_metric(Answers& answers, const std::string& metric, const MetricRows& rows) {
  const MetricRule& rule = metric_registry().at(metric);
  if (const auto value = value_of(rule, rows)) {
    answers.metrics[metric] = *value;
  } else {
    answers.undefined[metric] = rule.undefined;
  }
}

at::Tensor mean_entropy(const at::Tensor& log_probabilities) {
  return -(log_probabilities.exp() * log_probabilities).sum(1).mean();
}

}  // namespace fusegrid
