#include "models/architecture.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/im2col.h>
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

// The hook's answer for a convolution: what lies under the kernel at each position, one row each.
at::Tensor unfolded(const Layer& layer, const at::Tensor& kernel, const at::Tensor& bias, const at::Tensor& x,
                    const Pass& pass) {
  const auto [stride, padding, dilation] = *layer.convolution;
  const int64_t side = kernel.size(2), reach = dilation * (side - 1) + 1;
  const auto out = [&, stride = stride, padding = padding](int64_t size) {
    return (size + 2 * padding - reach) / stride + 1;
  };
  const at::Tensor rows =
      at::im2col(x, {side, side}, {dilation, dilation}, {padding, padding}, {stride, stride});
  const at::Tensor y = pass.layer(layer, rows.transpose(1, 2), kernel.flatten(1), bias);
  return y.transpose(1, 2).reshape({x.size(0), y.size(2), out(x.size(2)), out(x.size(3))});
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

at::Tensor counting_rows(const Layer& layer, const Inputs& inputs, const at::Tensor& x) {
  return x.dim() == 3 ? inputs.counting(layer.rows, x.size(1)) : at::Tensor();
}

at::Tensor apply(const Layer& layer, const Weights& weights, const at::Tensor& x, const Pass& pass) {
  const at::Tensor& weight = weights.at(layer.weight);
  const auto bias = weights.find(layer.bias);
  const at::Tensor added = bias == weights.end() ? at::Tensor() : bias->second;
  if (!layer.convolution) {
    return pass.layer ? pass.layer(layer, x, weight, added) : at::linear(x, weight, added);
  }
  if (pass.layer) {
    return unfolded(layer, weight, added, x, pass);
  }
  const auto [stride, padding, dilation] = *layer.convolution;
  return at::conv2d(x, weight, added, stride, padding, dilation);
}

void show(const Pass& pass, const std::string& group, const at::Tensor& x) {
  if (pass.seen) {
    pass.seen(group, x.dim() == 4 ? x.movedim(1, -1) : x);
  }
}

std::string to_string(const PixelSize& size) {
  return std::to_string(size.height) + " x " + std::to_string(size.width);
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
  const std::string stream = residual_stream();
  const auto shown = [&](const at::Tensor& sum) {
    if (!stream.empty()) {
      show(pass, stream, sum);
    }
    return sum;
  };
  shown(x);
  for (int64_t block = 0; block < size(); ++block) {
    x = shown(attention(weights, block, x, mask, pass));
    x = shown(add_mlp(weights, block, x, mlp(weights, block, mlp_input(weights, block, x), pass)));
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
