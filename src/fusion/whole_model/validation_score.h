#pragma once

#include <map>
#include <string>
#include <vector>

#include "fusion/fusion_input.h"

namespace fusegrid {

// How well a model answers the validation examples of the experts' tasks, each with its own head: means over the tasks
// of accuracies and losses. Of tasks that are not all of classes `accuracy` is a mean of parts instead: the first
// metric of the task's kind divided by that of the best expert, or the other way round where less is better, and a loss
// is 0. The better one has the higher accuracy, of equal ones the lower loss.
struct ValidationScore {
  double accuracy = 0;
  double loss = 0;
  bool better_than(const ValidationScore& other) const {
    return accuracy != other.accuracy ? accuracy > other.accuracy : loss < other.loss;
  }
};

// Of several models: reads the examples once, and where tasks are not all of classes scores the experts to compare
// with. Need::kValidationExamples.
class ValidationScorer {
 public:
  explicit ValidationScorer(const FusionInput& in);
  ValidationScore operator()(const Weights& model) const;

 private:
  using Metrics = std::map<std::string, double>;
  std::vector<Metrics> metrics_of(const Weights& model) const;  // by task
  const MetricRule& rule(size_t task) const;
  double part_of_best(const std::vector<Metrics>& seen, size_t task) const;

  const FusionInput& in_;
  std::vector<Examples> examples_;  // in the order of FusionInput::tasks()
  bool of_classes_ = true;
  std::vector<double> best_;  // of each task, by an expert; where tasks are not all of classes
};

}  // namespace fusegrid
