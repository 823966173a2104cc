// What the rows of a board are compared by.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "metrics/metric.h"
#include "store/records.h"

namespace fusegrid {

// The primary metric of a task: what the results say of it, and the rule where this program has it.
struct TaskMetric {
  std::string name;   // "accuracy", among the numbers of a result
  std::string title;  // "Accuracy"
  Better better = Better::kHigher;
  std::string unit;         // "fraction", "nats", "none", ...
  double tolerance = 0.01;  // an expert's own score nearer to 0 is no unit to measure others in
  std::shared_ptr<const MetricRule> rule = nullptr;  // nullptr: unknown, so that nothing can be resampled

  bool same_as(const TaskMetric& other) const;
};
// DataError where the results do not describe the task.
TaskMetric primary_metric(const Records& records, const std::string& zoo, const std::string& task);

// The number of a row: the mean over tasks of their metric, where all have the same one, else the mean over tasks of
// relative_score().
struct Score {
  std::string name;   // "accuracy"; "relative score"
  std::string title;  // "Accuracy"; "Relative score"
  Better better = Better::kHigher;
  std::string unit;
  bool relative = false;

  bool operator==(const Score&) const = default;
};
Score score_of(const std::vector<TaskMetric>& metrics);

// 1 + s (value - own) / |own|, with s = 1 where higher is better, else -1: 1 is as good as the task's own expert, more
// is better. own: not 0. Source: for accuracies the normalised accuracy of merging papers; less 1 the relative
// improvement of multi-task learning (Maninis et al., "Attentive Single-Tasking of Multiple Tasks", CVPR 2019).
double relative_score(Better better, double value, double own);

}  // namespace fusegrid
