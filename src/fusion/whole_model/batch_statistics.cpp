#include "fusion/whole_model/batch_statistics.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/sqrt.h>

#include "core/errors.h"
#include "core/role.h"
#include "models/channel_norm.h"

namespace fusegrid {
namespace {

constexpr double kLeastDeviation = 1e-4;  // added to that of a unit, which may be dead

void add(at::Tensor& sum, const at::Tensor& value) {
  sum = sum.defined() ? sum + value : value;
}

// Of the outputs of a layer, by unit, float64.
struct Moments {
  at::Tensor sum, squares;
  int64_t count = 0;

  void see(const at::Tensor& y) {
    const at::Tensor rows = y.reshape({-1, y.size(-1)}).to(at::kDouble);
    add(sum, rows.sum(0));
    add(squares, (rows * rows).sum(0));
    count += rows.size(0);
  }
  at::Tensor mean() const { return sum / static_cast<double>(count); }
  at::Tensor deviation() const {
    const at::Tensor mean_square = squares / static_cast<double>(count);
    return at::sqrt((mean_square - mean() * mean()).clamp_min(0));
  }
};

// By name of the layer; `only`: of one.
std::map<std::string, Moments> moments_of(const Network& network, const Weights& weights,
                                          const std::vector<Inputs>& batches,
                                          const std::optional<std::string>& only = {}) {
  std::map<std::string, Moments> all;
  const Pass watching{.layer = [&](const Layer& layer, const at::Tensor& x, const at::Tensor& weight,
                                   const at::Tensor& bias) {
    const at::Tensor y = at::linear(x, weight, bias);
    if (!only || *only == layer.name) {
      all[layer.name].see(y);
    }
    return y;
  }};
  for (const Inputs& batch : batches) {
    network.features(weights, batch, watching);
  }
  return all;
}

struct TargetMoments {
  at::Tensor mean, deviation;  // by unit
};

std::map<std::string, TargetMoments> targets_of(const Network& network,
                                                const std::vector<const Weights*>& ends,
                                                const std::vector<double>& shares,
                                                const std::vector<Inputs>& batches) {
  std::map<std::string, TargetMoments> targets;
  for (size_t i = 0; i < ends.size(); ++i) {
    for (const auto& [layer, moments] : moments_of(network, *ends[i], batches)) {
      add(targets[layer].mean, moments.mean() * shares[i]);
      add(targets[layer].deviation, moments.deviation() * shares[i]);
    }
  }
  return targets;
}

void repair(const Layer& layer, Weights& weights, const Moments& moments, const TargetMoments& target) {
  at::Tensor& weight = weights.at(layer.weight);
  at::Tensor& bias = weights.at(layer.bias);
  const at::Tensor factor = target.deviation / (moments.deviation() + kLeastDeviation);
  std::vector<int64_t> by_row(static_cast<size_t>(weight.dim()), 1);
  by_row.front() = -1;
  weight = (weight.to(at::kDouble) * factor.view(by_row)).to(weight.scalar_type());
  bias = ((bias.to(at::kDouble) - moments.mean()) * factor + target.mean).to(bias.scalar_type());
}

}  // namespace

bool has_running_statistics(const Architecture& architecture) {
  const auto all = architecture.parameters();
  return std::any_of(all.begin(), all.end(),
                     [](const TensorInfo& info) { return is_running_statistic(info); });
}

at::Tensor mean_statistic(const std::vector<const Weights*>& models, const std::string& name) {
  at::Tensor sum;
  for (const Weights* model : models) {
    add(sum, model->at(name).to(at::kDouble));
  }
  return sum / static_cast<double>(models.size());
}

Weights with_mean_statistics(Weights weights, const std::vector<Weights>& experts) {
  std::vector<const Weights*> models;
  for (const Weights& expert : experts) {
    models.push_back(&expert);
  }
  for (auto& [name, tensor] : weights) {
    if (is_running_statistic(name, tensor)) {
      tensor = mean_statistic(models, name).to(tensor.scalar_type());
    }
  }
  return weights;
}

Weights re_estimated(const Network& network, Weights weights, const std::vector<Inputs>& ready_batches) {
  FUSEGRID_ASSERT(!ready_batches.empty(), "statistics of no inputs");
  const at::NoGradGuard no_gradients;
  MeanStatistics collected;
  for (const Inputs& batch : ready_batches) {
    network.features(weights, batch, {.batch_statistics = collected.hook()});
  }
  collected.write_to(weights);
  return weights;
}

bool is_repairable(const Architecture& architecture) {
  std::vector<std::string> names;
  for (const TensorInfo& info : architecture.parameters()) {
    names.push_back(info.name);
    if (role_of(info) == Role::kScale) {
      return false;
    }
  }
  const auto layers = architecture.layers();
  return !layers.empty() && std::all_of(layers.begin(), layers.end(), [&](const Layer& layer) {
    return std::find(names.begin(), names.end(), layer.bias) != names.end();
  });
}

Weights repaired(const Network& network, Weights merged, const std::vector<const Weights*>& ends,
                 const std::vector<double>& shares, const std::vector<Inputs>& ready_batches) {
  FUSEGRID_ASSERT(ends.size() == shares.size() && !ends.empty() && !ready_batches.empty(),
                  "REPAIR of " + std::to_string(ends.size()) + " models with " +
                      std::to_string(shares.size()) + " shares on " + std::to_string(ready_batches.size()) +
                      " batches");
  FUSEGRID_ASSERT(is_repairable(*network.architecture), "REPAIR of a network with norms");
  const at::NoGradGuard no_gradients;
  const auto targets = targets_of(network, ends, shares, ready_batches);
  for (const Layer& layer : network.architecture->layers()) {
    const auto moments = moments_of(network, merged, ready_batches, layer.name);
    repair(layer, merged, moments.at(layer.name), targets.at(layer.name));
  }
  return merged;
}

}  // namespace fusegrid
