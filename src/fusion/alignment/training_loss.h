#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fusion/fusion_input.h"

namespace fusegrid {

// The loss of two experts' tasks on labelled training examples, for permutations that are trained: always the same
// examples, all of them, so that one step's loss compares with another's.
class TrainingLoss {
 public:
  // examples: dealt evenly over the tasks of both. Need::kTrainInputs, kTrainLabels and kGradients; ConfigError where
  // they own no task.
  TrainingLoss(const FusionInput& in, size_t first, size_t second, int64_t examples);

  struct Model {
    Weights weights;
    std::map<std::string, std::shared_ptr<const Readout>> readouts = {};  // in place of the network's
  };
  // Mean over tasks of their mean losses, whose gradients are added to the leaves that `make` makes a model of. It is
  // called for each batch, so that a batch's graph can go.
  double add_gradients(const std::function<Model()>& make) const;

 private:
  const FusionInput& in_;
  std::vector<std::pair<std::string, Examples>> tasks_;
};

}  // namespace fusegrid
