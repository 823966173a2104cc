#include "fusion/whole_model/validation_score.h"

#include <algorithm>
#include <limits>

#include "models/feeder.h"

namespace fusegrid {

ValidationScorer::ValidationScorer(const FusionInput& in) : in_(in) {
  for (const std::string& task : in.tasks()) {
    examples_.push_back(in.validation_examples(task));
    of_classes_ = of_classes_ && in.kind(task).has_classes();
  }
  if (of_classes_) {
    return;
  }
  for (size_t task = 0; task < examples_.size(); ++task) {
    const double none = std::numeric_limits<double>::infinity();
    best_.push_back(rule(task).better == Better::kHigher ? -none : none);
  }
  for (size_t i = 0; i < in.num_experts(); ++i) {
    const std::vector<Metrics> seen = metrics_of(in.expert(i));
    for (size_t task = 0; task < seen.size(); ++task) {
      const auto own = seen[task].find(rule(task).name);
      if (own != seen[task].end() && is_better(rule(task).better, own->second, best_[task])) {
        best_[task] = own->second;
      }
    }
  }
}

const MetricRule& ValidationScorer::rule(size_t task) const {
  return metric_registry().at(in_.kind(in_.tasks()[task]).metrics().front());
}

std::vector<ValidationScorer::Metrics> ValidationScorer::metrics_of(const Weights& model) const {
  constexpr int64_t kBatch = 256;
  const PrecisionScope scope(in_.network().precision);
  const Weights weights = rounded(model, in_.network().precision);
  std::vector<Metrics> all;
  for (size_t task = 0; task < examples_.size(); ++task) {
    const std::string& name = in_.tasks()[task];
    all.push_back(in_.kind(name)
                      .answer(examples_[task], {.feed = feed_of(in_.network()),
                                                .output = asker_of(in_.network(), weights, name),
                                                .batch = kBatch,
                                                .on_batch = [&] { in_.tick(); }})
                      .metrics);
  }
  return all;
}

// 0 where the metric is not defined, or one of both is no measure of the other.
double ValidationScorer::part_of_best(const std::vector<Metrics>& seen, size_t task) const {
  const auto own = seen[task].find(rule(task).name);
  if (own == seen[task].end()) {
    return 0;
  }
  const bool more = rule(task).better == Better::kHigher;
  const double above = more ? own->second : best_[task];
  const double below = more ? best_[task] : own->second;
  return below > 0 && below < std::numeric_limits<double>::infinity() ? above / below : 0;
}

ValidationScore ValidationScorer::operator()(const Weights& model) const {
  const std::vector<Metrics> seen = metrics_of(model);
  const auto tasks = static_cast<double>(seen.size());
  ValidationScore score;
  for (size_t task = 0; task < seen.size(); ++task) {
    if (of_classes_) {
      score.accuracy += seen[task].at("accuracy") / tasks;
      score.loss += seen[task].at("loss") / tasks;
    } else {
      score.accuracy += part_of_best(seen, task) / tasks;
    }
  }
  return score;
}

}  // namespace fusegrid
