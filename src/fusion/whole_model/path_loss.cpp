#include "fusion/whole_model/path_loss.h"

#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>

#include "core/philox.h"
#include "core/role.h"
#include "fusion/whole_model/batch_statistics.h"
#include "fusion/whole_model/labelled_batches.h"
#include "models/channel_norm.h"

namespace fusegrid {
PathPoints::PathPoints(const FusionInput& in)
    : in_(in), still_(with_mean_statistics(in.expert(0), in.experts())) {
  for (const TensorInfo& info : tensor_infos(still_)) {
    if (info.floating() && !is_running_statistic(info)) {
      moved_.push_back(info);
    }
  }
}

PathLoss::PathLoss(const FusionInput& in, const PathPoints& points, std::string purpose, int64_t batch,
                   double weight_decay)
    : in_(in), points_(points), purpose_(std::move(purpose)), batch_(batch), weight_decay_(weight_decay) {
  for (const std::string& task : in.tasks()) {
    examples_.push_back(in.train_examples(task, -1));
  }
}

PointTensors PathPoints::tensors_of(const Weights& model) const {
  PointTensors tensors;
  for (const TensorInfo& info : moved_) {
    tensors.push_back(model.at(info.name));
  }
  return tensors;
}

Weights PathPoints::model_of(const PointTensors& point) const {
  Weights model = still_;
  for (size_t i = 0; i < moved_.size(); ++i) {
    model[moved_[i].name] = point[i];
  }
  return model;
}

at::Tensor PathLoss::loss_of(const Weights& model, size_t task, int64_t step) const {
  const std::string& name = in_.tasks()[task];
  const TaskKind& kind = in_.kind(name);
  const Examples batch = labelled_batch(in_.network(), examples_[task],
                                        derive_key(in_.seed(), purpose_ + "/batches/" + name), batch_, step);
  const at::Tensor output = in_.network().output(model, kind.taught(batch), name, with_own_statistics());
  return kind.losses(output, batch).mean() / static_cast<double>(examples_.size());
}

PathLoss::Slope PathLoss::slope(const PointTensors& point, int64_t step) const {
  PointTensors leaves;
  for (const at::Tensor& tensor : point) {
    leaves.push_back(tensor.detach().clone().requires_grad_(true));
  }
  const Weights model = points_.model_of(leaves);
  Slope slope;
  {
    const at::AutoGradMode with_gradients(true);
    const PrecisionScope scope(in_.network().precision);
    for (size_t task = 0; task < examples_.size(); ++task) {
      const at::Tensor loss = loss_of(model, task, step);
      slope.loss = slope.loss.defined() ? slope.loss + loss.detach() : loss.detach();
      loss.backward();
    }
  }
  for (size_t i = 0; i < leaves.size(); ++i) {
    const at::Tensor gradient =
        leaves[i].grad().defined() ? leaves[i].grad() : at::zeros_like(leaves[i].detach());
    const bool decays = is_layer_weight(points_.moved()[i]);
    slope.gradient.push_back(decays ? gradient.add(leaves[i].detach(), weight_decay_) : gradient);
  }
  return slope;
}

double PathLoss::loss(const PointTensors& point, int64_t step) const {
  const at::NoGradGuard no_gradients;
  const PrecisionScope scope(in_.network().precision);
  const Weights model = points_.model_of(point);
  double sum = 0;
  for (size_t task = 0; task < examples_.size(); ++task) {
    sum += loss_of(model, task, step).item<double>();
  }
  return sum;
}

Weights PathPoints::packed(const std::vector<PointTensors>& points) const {
  Weights all;
  for (size_t k = 0; k < points.size(); ++k) {
    for (size_t i = 0; i < moved_.size(); ++i) {
      all.emplace(std::to_string(k) + "/" + moved_[i].name, points[k][i]);
    }
  }
  return all;
}

std::vector<PointTensors> PathPoints::unpacked(const Weights& packed) const {
  std::vector<PointTensors> points(moved_.empty() ? 0 : packed.size() / moved_.size());
  for (size_t k = 0; k < points.size(); ++k) {
    for (const TensorInfo& info : moved_) {
      points[k].push_back(packed.at(std::to_string(k) + "/" + info.name));
    }
  }
  return points;
}

std::vector<PointTensors> chord(const PathPoints& path, int64_t between) {
  const std::vector<PointTensors> ends{path.first(), path.second()};
  std::vector<PointTensors> points{ends[0]};
  for (int64_t k = 1; k <= between; ++k) {
    const double t = static_cast<double>(k) / static_cast<double>(between + 1);
    points.push_back(combined(ends, {1 - t, t}));
  }
  points.push_back(ends[1]);
  return points;
}

PointTensors combined(const std::vector<PointTensors>& points, const std::vector<double>& coefficients) {
  PointTensors sum;
  for (size_t i = 0; i < points.front().size(); ++i) {
    at::Tensor value = points[0][i] * coefficients[0];
    for (size_t k = 1; k < points.size(); ++k) {
      value = value.add(points[k][i], coefficients[k]);
    }
    sum.push_back(std::move(value));
  }
  return sum;
}

double inner_product(const PointTensors& a, const PointTensors& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum += (a[i] * b[i]).sum(at::kDouble).item<double>();
  }
  return sum;
}

}  // namespace fusegrid
