#pragma once

#include "fusion/fusion_input.h"

namespace fusegrid {

// How well a model answers the validation examples of the experts' tasks, which are of classes: means over the tasks,
// each with its own head. The better one has the higher accuracy, of equal ones the lower loss.
struct ValidationScore {
  double accuracy = 0;
  double loss = 0;
  bool better_than(const ValidationScore& other) const {
    return accuracy != other.accuracy ? accuracy > other.accuracy : loss < other.loss;
  }
};

// Of several models: reads the examples once. Need::kValidationExamples, Demand::kClasses.
class ValidationScorer {
 public:
  explicit ValidationScorer(const FusionInput& in);
  ValidationScore operator()(const Weights& model) const;

 private:
  const FusionInput& in_;
  std::vector<Examples> examples_;  // in the order of FusionInput::tasks()
};

}  // namespace fusegrid
