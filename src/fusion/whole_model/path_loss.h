#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusion/fusion_input.h"

namespace fusegrid {

// What lies between two models, by the tensors that change along it: all floating ones but running statistics.
using PointTensors = std::vector<at::Tensor>;

// The loss of points between two experts: that of a batch of labelled training examples of each task, its mean over
// tasks, with half the decay of the point's squared matrices and kernels in its gradient. Batch norms use the
// statistics of the batch. Batches are a function of the seed, the purpose and the step. Need::kTrainInputs,
// kTrainLabels and kGradients.
class PathLoss {
 public:
  PathLoss(const FusionInput& in, std::string purpose, int64_t batch, double weight_decay);

  PointTensors tensors_of(const Weights& model) const;
  // A whole model: running statistics are the mean of the first two experts', other tensors the first's.
  Weights model_of(const PointTensors& point) const;

  struct Slope {
    double loss = 0;
    PointTensors gradient;
  };
  Slope slope(const PointTensors& point, int64_t step) const;
  double loss(const PointTensors& point, int64_t step) const;

  // Points as one Weights, under names by their place, and back.
  Weights packed(const std::vector<PointTensors>& points) const;
  std::vector<PointTensors> unpacked(const Weights& packed) const;

 private:
  at::Tensor loss_of(const Weights& model, size_t task, int64_t step) const;

  const FusionInput& in_;
  std::string purpose_;
  int64_t batch_;
  double weight_decay_;
  std::vector<TensorInfo> moved_;
  std::vector<Examples> examples_;  // by task
};

// sum_k coefficients[k] points[k]
PointTensors combined(const std::vector<PointTensors>& points, const std::vector<double>& coefficients);

}  // namespace fusegrid
