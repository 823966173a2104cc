#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusion/fusion_input.h"

namespace fusegrid {

// How points between models are trained.
struct PointTraining {
  int64_t steps = 900;
  int64_t batch = 64;
  double lr = 0.03;
  double weight_decay = 5e-3;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("steps", steps, Range{0, 1e7}, "steps of training");
    v.param("batch", batch, Range{1, 65536}, "labelled training examples of each task in a step");
    v.param("lr", lr, Range{0, 100}, "highest learning rate");
    v.param("weight_decay", weight_decay, Range{0, 1}, "of the matrices of points between the experts");
  }
};

// What lies between models, by the tensors that change along it: all floating ones but running statistics.
using PointTensors = std::vector<at::Tensor>;

// Points between experts, as tensors and as models. Sees no data.
class PathPoints {
 public:
  explicit PathPoints(const FusionInput& in);

  PointTensors first() const { return tensors_of(in_.expert(0)); }
  PointTensors second() const { return tensors_of(in_.expert(1)); }
  PointTensors tensors_of(const Weights& model) const;
  // A whole model: running statistics are the experts' mean, other tensors the first's.
  Weights model_of(const PointTensors& point) const;
  const std::vector<TensorInfo>& moved() const { return moved_; }

  // Points as one Weights, under names by their place, and back.
  Weights packed(const std::vector<PointTensors>& points) const;
  std::vector<PointTensors> unpacked(const Weights& packed) const;

 private:
  const FusionInput& in_;
  std::vector<TensorInfo> moved_;
  Weights still_;  // a model's tensors that no point moves, among others
};

// The loss of points between experts: that of a batch of labelled training examples of each task, its mean over
// tasks, with half the decay of the point's squared matrices and kernels in its gradient. Batch norms use the
// statistics of the batch. Batches are a function of the seed, the purpose and the step. Need::kTrainInputs,
// kTrainLabels and kGradients.
class PathLoss {
 public:
  // points: outlives it.
  PathLoss(const FusionInput& in, const PathPoints& points, std::string purpose, int64_t batch,
           double weight_decay);

  struct Slope {
    at::Tensor loss;  // of no dimension
    PointTensors gradient;
  };
  Slope slope(const PointTensors& point, int64_t step) const;
  double loss(const PointTensors& point, int64_t step) const;

 private:
  at::Tensor loss_of(const Weights& model, size_t task, int64_t step) const;

  const FusionInput& in_;
  const PathPoints& points_;
  std::string purpose_;
  int64_t batch_;
  double weight_decay_;
  std::vector<Examples> examples_;  // by task
};

// The ends, and between them so many points at equal distances on their chord.
std::vector<PointTensors> chord(const PathPoints& path, int64_t between);

// sum_k coefficients[k] points[k]
PointTensors combined(const std::vector<PointTensors>& points, const std::vector<double>& coefficients);

// Of all their numbers, summed in float64.
double inner_product(const PointTensors& a, const PointTensors& b);

// FusionInput::trained()'s key of what is trained with these options.
template <typename Training>
std::string trained_key(const std::string& what, Training training) {
  ParamLister lister;
  training.describe(lister);
  return what + "{" + lister.canonical() + "}";
}

}  // namespace fusegrid
