// The images of training steps with a map of what each pixel is.
#pragma once

#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

#include "models/network.h"
#include "store/task_pack.h"
#include "zoo/sampling.h"

namespace fusegrid {

// What a map becomes where left and right change places. kind: of the task.
at::Tensor mirrored_map(const at::Tensor& maps, const std::string& kind);

// Batches of a task's training split, see ExampleOrder. The whole batch is mirrored, left to right, or not.
class MapBatches {
 public:
  // network: of the models, which make their inputs ready; it outlives the batches.
  MapBatches(const TaskInfo& task, const Split& train, int64_t batch, uint64_t seed, const Network& network);
  Examples at(int64_t step);  // steps in order, each once; inputs are ready

 private:
  const Network& network_;
  std::string kind_;
  at::Tensor images_, maps_;  // on the network's device
  ExampleOrder order_;
  uint64_t mirror_key_;
};

}  // namespace fusegrid
