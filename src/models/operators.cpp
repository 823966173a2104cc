#include "models/operators.h"

#include <algorithm>
#include <map>
#include <optional>

#include <ATen/TensorOperators.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/promote_types.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

const std::map<std::string, Activation>& activations() {
  static const std::map<std::string, Activation> all{{"quick_gelu", Activation::kQuickGelu},
                                                     {"gelu", Activation::kGelu},
                                                     {"gelu_new", Activation::kGeluTanh},
                                                     {"gelu_pytorch_tanh", Activation::kGeluTanh},
                                                     {"relu", Activation::kRelu},
                                                     {"silu", Activation::kSilu}};
  return all;
}

// x * sigmoid(1.702 x), written with the fused SiLU: it needs two passes over memory less than the plain form
// when gradients flow.
at::Tensor quick_gelu(const at::Tensor& x) {
  constexpr double kSlope = 1.702;
  return at::silu(x * kSlope) * (1 / kSlope);
}

at::Tensor mean_of_counting(const at::Tensor& x, const at::Tensor& lengths) {
  if (!lengths.defined()) {
    return x.mean(1);
  }
  const at::Tensor counts = counting_positions(lengths, x.size(1)).to(x.dtype());
  return (x * counts.unsqueeze(2)).sum(1) / lengths.to(x.dtype()).unsqueeze(1);
}

at::Tensor last_counting(const at::Tensor& x, const at::Tensor& lengths) {
  if (!lengths.defined()) {
    return x.select(1, x.size(1) - 1);
  }
  const at::Tensor last = (lengths - 1).view({-1, 1, 1}).expand({-1, 1, x.size(2)});
  return x.gather(1, last).squeeze(1);
}

}  // namespace

at::Tensor LayerNorm::operator()(const Weights& weights, const at::Tensor& x) const {
  return at::layer_norm(x, {width}, weights.at(weight), weights.at(bias), epsilon);
}

at::Tensor RmsNorm::operator()(const Weights& weights, const at::Tensor& x) const {
  const at::Tensor wide = x.to(at::promote_types(x.scalar_type(), at::kFloat));
  const at::Tensor mean_square = wide.square().mean(-1, /*keepdim=*/true);
  return weights.at(weight) * (wide * at::rsqrt(mean_square + epsilon)).to(x.scalar_type());
}

at::Tensor normed(const at::Tensor& x, double epsilon) {
  return at::layer_norm(x, {x.size(-1)}, {}, {}, epsilon);
}

at::Tensor activate(Activation activation, const at::Tensor& x) {
  switch (activation) {
    case Activation::kQuickGelu:
      return quick_gelu(x);
    case Activation::kGelu:
      return at::gelu(x);
    case Activation::kGeluTanh:
      return at::gelu(x, "tanh");
    case Activation::kRelu:
      return at::relu(x);
    case Activation::kSilu:
      return at::silu(x);
  }
  FUSEGRID_ASSERT(false, "unknown activation");
}

Activation parse_activation(const std::string& name) {
  const auto found = activations().find(name);
  FUSEGRID_ASSERT(found != activations().end(), "activation " + name);
  return found->second;
}

std::string to_string(Activation activation) {
  for (const auto& [name, value] : activations()) {
    if (value == activation) {
      return name;
    }
  }
  FUSEGRID_ASSERT(false, "unknown activation");
}

at::Tensor attention_of_heads(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                              int64_t heads, const at::Tensor& mask, std::optional<double> scale) {
  const int64_t size = query.size(2) / heads;
  // [n, tokens, width] -> [n, heads, tokens, size]
  const auto split = [&](const at::Tensor& x) {
    const at::Tensor own = x.unflatten(2, {-1, size}).transpose(1, 2);
    const int64_t shared_by = heads / own.size(1);
    return shared_by == 1 ? own : own.unsqueeze(2).expand({-1, -1, shared_by, -1, -1}).flatten(1, 2);
  };
  const std::optional<at::Tensor> looks = mask.defined() ? std::optional(mask) : std::nullopt;
  return at::scaled_dot_product_attention(split(query), split(key), split(value), looks,
                                          /*dropout_p=*/0, /*is_causal=*/false, scale)
      .transpose(1, 2)
      .flatten(2);
}

at::Tensor patches_of(const at::Tensor& images, const at::Tensor& kernel) {
  return at::conv2d(images, kernel, {}, kernel.size(2)).flatten(2).transpose(1, 2);
}

at::Tensor channels_of(const at::Tensor& images, int64_t channels) {
  return channels == images.size(1) ? images : images.mean(1, /*keepdim=*/true);
}

at::Tensor halved_by_max(const at::Tensor& images) {
  return at::max_pool2d(images, 2);
}

at::Tensor halved_by_overlapping_max(const at::Tensor& images) {
  return at::max_pool2d(images, /*kernel_size=*/3, /*stride=*/2, /*padding=*/1);
}

at::Tensor pooled_map(const at::Tensor& map, Pooling pooling) {
  return pooling == Pooling::kNone ? map.flatten(2).transpose(1, 2) : map.mean({2, 3});
}

at::Tensor embedded(const at::Tensor& table, const at::Tensor& indices) {
  return at::embedding(table, indices);
}

at::Tensor pooled(const at::Tensor& x, const at::Tensor& lengths, Pooling pooling) {
  switch (pooling) {
    case Pooling::kNone:
      return x;
    case Pooling::kFirst:
      return x.select(1, 0);
    case Pooling::kLast:
      return last_counting(x, lengths);
    case Pooling::kMean:
      return mean_of_counting(x, lengths);
  }
  FUSEGRID_ASSERT(false, "unknown pooling");
}

void check_one_row(Pooling pooling, const std::string& architecture) {
  if (pooling == Pooling::kNone) {
    throw ConfigError("a model of architecture " + architecture +
                      " makes one row of features for each example, none for each token; pooling must be "
                      "first, last or mean, which all give that row, but it is " +
                      to_string(pooling));
  }
}

void ParameterList::add(const std::string& name, const std::vector<int64_t>& shape) {
  infos_.push_back({name, shape});
}

void ParameterList::add(const LayerNorm& norm) {
  add(norm.weight, {norm.width});
  add(norm.bias, {norm.width});
}

void ParameterList::add(const RmsNorm& norm) {
  add(norm.weight, {norm.width});
}

void ParameterList::add(const Layer& layer, const std::vector<int64_t>& weight, bool bias) {
  add(layer.weight, weight);
  if (bias) {
    add(layer.bias, {weight.front()});
  }
}

std::vector<TensorInfo> ParameterList::sorted() const {
  std::vector<TensorInfo> infos = infos_;
  std::sort(infos.begin(), infos.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return infos;
}

std::vector<AxisGroup> chain_groups(const std::vector<Layer>& layers, const std::vector<int64_t>& units,
                                    bool biases) {
  std::vector<AxisGroup> groups;
  for (size_t i = 0; i < layers.size(); ++i) {
    AxisGroup group;
    group.name = layers[i].name;
    group.size = units.at(i);
    group.axes = {{layers[i].weight, 0, true}};
    if (biases) {
      group.axes.push_back({layers[i].bias, 0, true});
    }
    group.features = i + 1 == layers.size();
    if (!group.features) {
      group.axes.push_back({layers[i + 1].weight, 1, false});
    }
    groups.push_back(std::move(group));
  }
  return groups;
}

}  // namespace fusegrid
