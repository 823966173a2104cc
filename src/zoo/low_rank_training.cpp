#include "zoo/low_rank_training.h"

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/zeros.h>

#include "core/philox.h"
#include "core/text.h"
#include "zoo/training.h"

namespace fusegrid {

TrainedFactors::TrainedFactors(const Architecture& architecture, const std::vector<std::string>& targets,
                               int64_t rank, double scale, uint64_t key, at::Device device) {
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const TensorInfo& info : architecture.parameters()) {
    shapes.emplace(info.name, info.shape);
  }
  for (const Layer& layer : architecture.layers()) {
    const bool adapted = std::any_of(targets.begin(), targets.end(), [&](const std::string& target) {
      return layer.name.ends_with("." + target);
    });
    if (adapted) {
      const int64_t out = shapes.at(layer.weight)[0];
      const int64_t in = shapes.at(layer.weight)[1];
      const at::Tensor a =
          normal_tensor({rank, in}, 1 / std::sqrt(static_cast<double>(in)), derive_key(key, layer.name));
      factors_[layer.weight] = {at::zeros({out, rank}).to(device).requires_grad_(true),
                                a.to(device).requires_grad_(true), scale};
    }
  }
}

Pass TrainedFactors::pass() const {
  return {.layer = [this](const Layer& layer, const at::Tensor& x, const at::Tensor& weight,
                          const at::Tensor& bias) {
    at::Tensor y = at::linear(x, weight, bias);
    const auto adapted = factors_.find(layer.weight);
    if (adapted == factors_.end()) {
      return y;
    }
    const auto& [b, a, scale] = adapted->second;
    return y + at::linear(at::linear(x, a), b) * scale;
  }};
}

std::vector<at::Tensor> TrainedFactors::trained() const {
  std::vector<at::Tensor> tensors;
  for (const auto& [name, factors] : factors_) {
    tensors.insert(tensors.end(), {factors.a, factors.b});
  }
  return tensors;
}

FactorsByName TrainedFactors::factors() const {
  FactorsByName now;
  for (const auto& [name, factors] : factors_) {
    now[name] = {factors.b.detach(), factors.a.detach(), factors.scale};
  }
  return now;
}

uint64_t adapter_key(const ModelInput& in) {
  return derive_key(in.seed, "fine_tune/lora/" + join(in.tasks, "+"));
}

MadeModel train_adapter(const AdapterTuning& adapter, const ModelInput& in,
                        const std::vector<TrainedTask>& tasks, const Schedule& schedule) {
  const TrainedFactors factors(*in.network.architecture, adapter.targets, adapter.rank, adapter.scale,
                               adapter.key, in.network.device);
  train(in.network, make_trainee(in.base, {}), tasks, {{.tensors = factors.trained()}}, schedule, in.on_step,
        factors.pass());
  return {.weights = {},
          .adapter = LoraAdapter{
              .factors = factors.factors(), .targets = adapter.targets, .task_type = adapter.task_type}};
}

}  // namespace fusegrid
