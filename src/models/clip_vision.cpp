#include "models/clip_vision.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>

#include "core/concatenate.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr const char* kPrefix = "vision_model.";

enum class Activation { kQuickGelu, kGelu };

struct Shape {
  int64_t width = 0, mlp_width = 0, blocks = 0, heads = 0, image = 0, patch = 0, projection = 0;
  double epsilon = 0;
  Activation activation = Activation::kQuickGelu;
  bool projection_required = false;

  // Patches that do not fit are left out, as the convolution does.
  int64_t tokens() const { return (image / patch) * (image / patch) + 1; }
};

// The weight and bias names of an affine layer, built once: a forward pass asks for them for every layer.
struct Affine {
  explicit Affine(std::string layer)
      : name(std::move(layer)), weight(name + ".weight"), bias(name + ".bias") {}
  std::string name, weight, bias;
};

struct Block {
  explicit Block(const std::string& block_prefix)
      : prefix(block_prefix),
        mlp_prefix(block_prefix + "mlp."),
        attention_input(block_prefix + "self_attn"),
        norm1(block_prefix + "layer_norm1"),
        norm2(block_prefix + "layer_norm2"),
        query(block_prefix + "self_attn.q_proj"),
        key(block_prefix + "self_attn.k_proj"),
        value(block_prefix + "self_attn.v_proj"),
        out(block_prefix + "self_attn.out_proj"),
        fc1(block_prefix + "mlp.fc1"),
        fc2(block_prefix + "mlp.fc2") {}
  std::string prefix, mlp_prefix, attention_input;
  Affine norm1, norm2, query, key, value, out, fc1, fc2;
};

class ClipVision : public Architecture {
 public:
  explicit ClipVision(const Shape& shape) : shape_(shape) {
    for (int64_t i = 0; i < shape.blocks; ++i) {
      blocks_.emplace_back(kPrefix + ("encoder.layers." + std::to_string(i)) + ".");
    }
  }

  std::string name() const override { return "clip_vision_model"; }
  int64_t image_size() const override { return shape_.image; }
  int64_t num_blocks() const override { return shape_.blocks; }
  int64_t num_tokens() const override { return shape_.tokens(); }
  int64_t feature_size() const override { return shape_.width; }
  std::string block_prefix(int64_t block) const override { return at(block).prefix; }
  std::string mlp_prefix(int64_t block) const override { return at(block).mlp_prefix; }
  std::optional<Projection> projection() const override {
    return Projection{{"visual_projection.weight", {shape_.projection, shape_.width}},
                      shape_.projection_required};
  }
  std::vector<TensorInfo> parameters() const override;
  std::vector<LinearLayer> linear_layers() const override;

  at::Tensor embed(const Weights& weights, const at::Tensor& pixels) const override;
  at::Tensor attention(const Weights& weights, int64_t block, const at::Tensor& x,
                       const LinearHook& hook) const override;
  at::Tensor mlp_input(const Weights& weights, int64_t block, const at::Tensor& x) const override {
    return norm(weights, at(block).norm2, x);
  }
  at::Tensor mlp(const Weights& weights, int64_t block, const at::Tensor& normed,
                 const LinearHook& hook) const override;
  at::Tensor pool(const Weights& weights, const at::Tensor& x) const override {
    return norm(weights, post_norm_, x.select(1, 0));
  }

 private:
  const Block& at(int64_t block) const { return blocks_.at(static_cast<size_t>(block)); }
  at::Tensor norm(const Weights& weights, const Affine& layer, const at::Tensor& x) const {
    return at::layer_norm(x, {shape_.width}, weights.at(layer.weight), weights.at(layer.bias),
                          shape_.epsilon);
  }
  static at::Tensor linear(const Weights& weights, const Affine& layer, const at::Tensor& x,
                           const LinearHook& hook) {
    const at::Tensor& weight = weights.at(layer.weight);
    const at::Tensor& bias = weights.at(layer.bias);
    return hook ? hook(layer.name, x, weight, bias) : at::linear(x, weight, bias);
  }

  Shape shape_;
  std::vector<Block> blocks_;
  std::string class_embedding_ = std::string(kPrefix) + "embeddings.class_embedding";
  std::string patch_embedding_ = std::string(kPrefix) + "embeddings.patch_embedding.weight";
  std::string position_embedding_ = std::string(kPrefix) + "embeddings.position_embedding.weight";
  Affine pre_norm_{std::string(kPrefix) + "pre_layrnorm"};  // HuggingFace's spelling
  Affine post_norm_{std::string(kPrefix) + "post_layernorm"};
};

std::vector<TensorInfo> ClipVision::parameters() const {
  const int64_t width = shape_.width;
  std::vector<TensorInfo> all{
      {class_embedding_, {width}},
      {patch_embedding_, {width, 3, shape_.patch, shape_.patch}},
      {position_embedding_, {shape_.tokens(), width}},
  };
  const auto affine = [&](const Affine& layer, std::vector<int64_t> shape) {
    all.push_back({layer.bias, {shape.front()}});
    all.push_back({layer.weight, std::move(shape)});
  };
  affine(pre_norm_, {width});
  affine(post_norm_, {width});
  for (const Block& block : blocks_) {
    affine(block.norm1, {width});
    affine(block.norm2, {width});
    for (const Affine* layer : {&block.query, &block.key, &block.value, &block.out}) {
      affine(*layer, {width, width});
    }
    affine(block.fc1, {shape_.mlp_width, width});
    affine(block.fc2, {width, shape_.mlp_width});
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return all;
}

std::vector<LinearLayer> ClipVision::linear_layers() const {
  std::vector<LinearLayer> layers;
  for (const Block& block : blocks_) {
    for (const Affine* layer : {&block.query, &block.key, &block.value}) {
      layers.push_back({layer->name, block.attention_input});
    }
    for (const Affine* layer : {&block.out, &block.fc1, &block.fc2}) {
      layers.push_back({layer->name, layer->name});
    }
  }
  return layers;
}

at::Tensor ClipVision::embed(const Weights& weights, const at::Tensor& pixels) const {
  const at::Tensor& kernel = weights.at(patch_embedding_);
  const at::Tensor patches =
      at::conv2d(pixels.to(kernel.scalar_type()), kernel, {}, shape_.patch).flatten(2).transpose(1, 2);
  const at::Tensor class_token = weights.at(class_embedding_).expand({pixels.size(0), 1, shape_.width});
  const at::Tensor tokens = concatenate({class_token, patches}, 1) + weights.at(position_embedding_);
  return norm(weights, pre_norm_, tokens);
}

at::Tensor ClipVision::attention(const Weights& weights, int64_t block, const at::Tensor& x,
                                 const LinearHook& hook) const {
  const Block& names = at(block);
  const at::Tensor normed = norm(weights, names.norm1, x);
  // [batch, tokens, width] -> [batch, heads, tokens, width / heads]
  const auto heads = [&](const Affine& layer) {
    return linear(weights, layer, normed, hook).unflatten(2, {shape_.heads, -1}).transpose(1, 2);
  };
  const at::Tensor query = heads(names.query);
  const at::Tensor key = heads(names.key);
  const at::Tensor value = heads(names.value);
  const at::Tensor mixed = at::scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2);
  return x + linear(weights, names.out, mixed, hook);
}

// x * sigmoid(1.702 x), written with the fused SiLU: it needs two passes over memory less than the plain form
// when gradients flow.
at::Tensor quick_gelu(const at::Tensor& x) {
  constexpr double kSlope = 1.702;
  return at::silu(x * kSlope) * (1 / kSlope);
}

at::Tensor ClipVision::mlp(const Weights& weights, int64_t block, const at::Tensor& normed,
                           const LinearHook& hook) const {
  const Block& names = at(block);
  const at::Tensor hidden = linear(weights, names.fc1, normed, hook);
  const at::Tensor active = shape_.activation == Activation::kGelu ? at::gelu(hidden) : quick_gelu(hidden);
  return linear(weights, names.fc2, active, hook);
}

// Reads fields of one object of config.json; every error names the field, its value and what is supported.
class ConfigReader {
 public:
  ConfigReader(const nlohmann::json& config, std::string where) : config_(config), where_(std::move(where)) {}

  int64_t size(const std::string& field, int64_t otherwise) const {
    const nlohmann::json value = config_.value(field, nlohmann::json(otherwise));
    require(value.is_number_integer() && value > 0 && value <= 1'000'000, field, "a positive whole number");
    return value.get<int64_t>();
  }
  double positive(const std::string& field, double otherwise) const {
    const nlohmann::json value = config_.value(field, nlohmann::json(otherwise));
    require(value.is_number() && value > 0, field, "a positive number");
    return value.get<double>();
  }
  Activation activation() const {
    const nlohmann::json value = config_.value("hidden_act", nlohmann::json("quick_gelu"));
    require(value == "quick_gelu" || value == "gelu", "hidden_act", "quick_gelu or gelu");
    return value == "gelu" ? Activation::kGelu : Activation::kQuickGelu;
  }
  void require(bool condition, const std::string& field, const std::string& rule) const {
    if (!condition) {
      throw ConfigError("config.json: " + where_ + field + " must be " + rule + ", but it is " +
                        (config_.contains(field) ? config_[field].dump() : std::string("missing")));
    }
  }

 private:
  const nlohmann::json& config_;
  std::string where_;
};

Shape read_shape(const nlohmann::json& config) {
  const bool whole = config.value("model_type", "") == "clip";
  const ConfigReader outer(config, "");
  if (whole) {
    outer.require(config.contains("vision_config") && config["vision_config"].is_object(), "vision_config",
                  "an object");
  }
  const nlohmann::json& vision = whole ? config["vision_config"] : config;
  const ConfigReader reader(vision, whole ? "vision_config." : "");
  Shape shape;
  shape.width = reader.size("hidden_size", 768);
  shape.mlp_width = reader.size("intermediate_size", 3072);
  shape.blocks = reader.size("num_hidden_layers", 12);
  shape.heads = reader.size("num_attention_heads", 12);
  shape.image = reader.size("image_size", 224);
  shape.patch = reader.size("patch_size", 32);
  shape.projection = (whole ? outer : reader).size("projection_dim", 512);
  shape.epsilon = reader.positive("layer_norm_eps", 1e-5);
  shape.activation = reader.activation();
  shape.projection_required = whole;
  reader.require(reader.size("num_channels", 3) == 3, "num_channels", "3");
  reader.require(shape.width % shape.heads == 0, "num_attention_heads", "a divisor of hidden_size");
  reader.require(shape.patch <= shape.image, "patch_size", "at most image_size");
  return shape;
}

}  // namespace

std::unique_ptr<Architecture> make_clip_vision(const nlohmann::json& config) {
  return std::make_unique<ClipVision>(read_shape(config));
}

nlohmann::json clip_vision_settings(const nlohmann::json& config) {
  const Shape shape = read_shape(config);
  return {{"hidden_size", shape.width},
          {"intermediate_size", shape.mlp_width},
          {"num_hidden_layers", shape.blocks},
          {"num_attention_heads", shape.heads},
          {"image_size", shape.image},
          {"patch_size", shape.patch},
          {"layer_norm_eps", shape.epsilon},
          {"hidden_act", shape.activation == Activation::kGelu ? "gelu" : "quick_gelu"}};
}

}  // namespace fusegrid
