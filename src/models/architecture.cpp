#include "models/architecture.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <nlohmann/json.hpp>

#include "core/concatenate.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

const ArchitectureFamily& family_of(const nlohmann::json& config) {
  const std::string type =
      config.is_object() && config.contains("model_type") && config["model_type"].is_string()
          ? config["model_type"].get<std::string>()
          : "";
  if (!architecture_registry().contains(type)) {
    throw ConfigError(
        "config.json: model_type must be one of " + join(architecture_registry().names(), ", ") +
        ", but it is '" + type +
        "'; models of other architectures can be merged, by 'fusegrid merge' or in a zoo whose tasks "
        "are those of jobs ([task:NAME]), but not evaluated here");
  }
  return architecture_registry().at(type);
}

}  // namespace

Memory& Memory::part(size_t index) {
  while (parts_.size() <= index) {
    parts_.push_back(std::make_unique<Memory>());
  }
  return *parts_[index];
}

at::Tensor Memory::append(const std::string& name, const at::Tensor& rows) {
  at::Tensor& held = tensors[name];
  held = held.defined() ? concatenate({held, rows}, 1) : rows;
  return held;
}

void Memory::select(const at::Tensor& rows) {
  for (auto& [name, tensor] : tensors) {
    tensor = tensor.index_select(0, rows.to(tensor.device()));
  }
  for (const auto& part : parts_) {
    part->select(rows);
  }
}

at::Tensor apply(const Layer& layer, const Weights& weights, const at::Tensor& x, const Pass& pass) {
  const at::Tensor& weight = weights.at(layer.weight);
  const auto bias = weights.find(layer.bias);
  const at::Tensor added = bias == weights.end() ? at::Tensor() : bias->second;
  return pass.layer ? pass.layer(layer, x, weight, added) : at::linear(x, weight, added);
}

std::string to_string(Pooling pooling) {
  switch (pooling) {
    case Pooling::kNone:
      return "none";
    case Pooling::kFirst:
      return "first";
    case Pooling::kLast:
      return "last";
    case Pooling::kMean:
      return "mean";
  }
  FUSEGRID_ASSERT(false, "unknown pooling");
}

at::Tensor BlockArchitecture::features(const Weights& weights, const Inputs& inputs, Pooling pooling,
                                       const Pass& pass) const {
  const at::Tensor x = through_blocks(weights, embed(weights, inputs), mask(inputs), pass);
  return finish(weights, x, inputs, pooling);
}

at::Tensor BlockArchitecture::through_blocks(const Weights& weights, at::Tensor x, const at::Tensor& mask,
                                             const Pass& pass) const {
  for (int64_t block = 0; block < size(); ++block) {
    x = attention(weights, block, x, mask, pass);
    x = add_mlp(weights, block, x, mlp(weights, block, mlp_input(weights, block, x), pass));
  }
  return x;
}

Registry<ArchitectureFamily>& architecture_registry() {
  static Registry<ArchitectureFamily> registry("architecture");
  return registry;
}

std::unique_ptr<Architecture> make_architecture(const nlohmann::json& config) {
  return family_of(config).make(config);
}

nlohmann::json architecture_settings(const nlohmann::json& config) {
  return family_of(config).settings(config);
}

}  // namespace fusegrid
