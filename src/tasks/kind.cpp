#include "tasks/kind.h"

#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/ops/exp.h>

#include "core/errors.h"

namespace fusegrid {

Asker asker_of(const Network& network, Weights weights, std::string head) {
  return
      [&network, weights = std::move(weights), head = std::move(head)](const Inputs& ready, Memory* memory) {
        return network.output(weights, ready, head, {.memory = memory});
      };
}

Inputs TaskKind::completed(const Inputs& ready, const Asker&) const {
  return ready;
}

at::Tensor TaskKind::log_probabilities(const at::Tensor&, const Inputs&) const {
  FUSEGRID_ASSERT(false, doc() + " has no distribution");
}

Registry<const TaskKind*>& kind_registry() {
  static Registry<const TaskKind*> registry("kind of task");
  return registry;
}

const TaskKind& task_kind(const std::string& name) {
  return *kind_registry().at(name);
}

std::shared_ptr<const TaskKind> kind_of(const TaskInfo& task, const TokenTable* tokens) {
  const TaskKind& kind = task_kind(task.kind);
  if (auto own = kind.of_task(task, tokens)) {
    return own;
  }
  return {std::shared_ptr<const TaskKind>(), &kind};  // of static storage
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
