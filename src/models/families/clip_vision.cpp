// The vision tower of CLIP with the parameter names of HuggingFace's CLIPVisionModel.
//
// Source:  Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
//          arXiv:2103.00020.
// Config:  model_type clip_vision_model, or clip (families/clip.cpp), whose vision_config and projection_dim are used.
//          Fields that are not given have HuggingFace's defaults. Dropout fields are ignored: nothing here evaluates
//          or trains with dropout.

#include <ATen/TensorOperators.h>
#include <nlohmann/json.hpp>

#include "core/concatenate.h"
#include "core/errors.h"
#include "models/config_reader.h"
#include "models/encoder_groups.h"
#include "models/operators.h"

namespace fusegrid::families::clip_vision {
namespace {

constexpr const char* kPrefix = "vision_model.";

struct Shape {
  int64_t width = 0, mlp_width = 0, blocks = 0, heads = 0, image = 0, patch = 0, projection = 0;
  double epsilon = 0;
  Activation activation = Activation::kQuickGelu;
  bool projection_required = false;

  // Patches that do not fit are left out, as the convolution does.
  int64_t tokens() const { return (image / patch) * (image / patch) + 1; }
};

// The names of one block, built once: a forward pass asks for them for every layer.
struct Block {
  Block(const std::string& prefix, const Shape& shape)
      : norm1(prefix + "layer_norm1", shape.width, shape.epsilon),
        norm2(prefix + "layer_norm2", shape.width, shape.epsilon),
        query(prefix + "self_attn.q_proj", prefix + "self_attn"),
        key(prefix + "self_attn.k_proj", prefix + "self_attn"),
        value(prefix + "self_attn.v_proj", prefix + "self_attn"),
        out(prefix + "self_attn.out_proj"),
        fc1(prefix + "mlp.fc1"),
        fc2(prefix + "mlp.fc2") {}
  LayerNorm norm1, norm2;
  Layer query, key, value, out, fc1, fc2;
};

class ClipVision final : public BlockArchitecture {
 public:
  explicit ClipVision(const Shape& shape) : shape_(shape) {
    for (int64_t i = 0; i < shape.blocks; ++i) {
      blocks_.emplace_back(kPrefix + ("encoder.layers." + std::to_string(i)) + ".", shape);
    }
  }

  std::string name() const override { return "clip_vision_model"; }
  InputFormat input() const override { return {.image_size = shape_.image}; }
  int64_t feature_size() const override { return shape_.width; }
  int64_t num_tokens() const override { return shape_.tokens(); }
  std::optional<Projection> projection() const override {
    return Projection{{"visual_projection.weight", {shape_.projection, shape_.width}},
                      shape_.projection_required};
  }
  std::vector<TensorInfo> parameters() const override;
  // As the library writes them since version 5.
  std::vector<std::string> names_in_files(const std::string& parameter) const override {
    return {parameter, parameter.substr(std::string(kPrefix).size())};
  }
  std::vector<Layer> layers() const override {
    std::vector<Layer> layers;
    for (const Block& block : blocks_) {
      layers.insert(layers.end(), {block.query, block.key, block.value, block.out, block.fc1, block.fc2});
    }
    return layers;
  }
  std::vector<AxisGroup> axis_groups() const override;

  int64_t size() const override { return shape_.blocks; }
  int64_t width() const override { return shape_.width; }
  std::vector<Layer> mlp_layers(int64_t block) const override { return {at(block).fc1, at(block).fc2}; }
  at::Tensor mask(const Inputs&) const override { return {}; }
  at::Tensor embed(const Weights& weights, const Inputs& inputs) const override;
  at::Tensor attention(const Weights& weights, int64_t block, const at::Tensor& x, const at::Tensor& mask,
                       const Pass& pass) const override;
  at::Tensor mlp_input(const Weights& weights, int64_t block, const at::Tensor& x) const override {
    return at(block).norm2(weights, x);
  }
  at::Tensor mlp(const Weights& weights, int64_t block, const at::Tensor& input,
                 const Pass& pass) const override {
    const Block& names = at(block);
    const at::Tensor hidden = activate(shape_.activation, apply(names.fc1, weights, input, pass));
    show(pass, names.fc1.name, hidden);
    return apply(names.fc2, weights, hidden, pass);
  }
  at::Tensor add_mlp(const Weights&, int64_t, const at::Tensor& x, const at::Tensor& y) const override {
    return x + y;
  }
  // The last norm is of each token, so the pooled one alone is normed where that is the same.
  at::Tensor finish(const Weights& weights, const at::Tensor& x, const Inputs&,
                    Pooling pooling) const override {
    return pooling == Pooling::kMean ? pooled(post_norm_(weights, x), {}, pooling)
                                     : post_norm_(weights, pooled(x, {}, pooling));
  }

 private:
  std::string residual_stream() const override { return kResidualStream; }
  const Block& at(int64_t block) const { return blocks_.at(static_cast<size_t>(block)); }

  Shape shape_;
  std::vector<Block> blocks_;
  std::string class_embedding_ = std::string(kPrefix) + "embeddings.class_embedding";
  std::string patch_embedding_ = std::string(kPrefix) + "embeddings.patch_embedding.weight";
  std::string position_embedding_ = std::string(kPrefix) + "embeddings.position_embedding.weight";
  LayerNorm pre_norm_{std::string(kPrefix) + "pre_layrnorm", shape_.width,
                      shape_.epsilon};  // HuggingFace's spelling
  LayerNorm post_norm_{std::string(kPrefix) + "post_layernorm", shape_.width, shape_.epsilon};
};

std::vector<TensorInfo> ClipVision::parameters() const {
  const int64_t width = shape_.width;
  ParameterList all;
  all.add(class_embedding_, {width});
  all.add(patch_embedding_, {width, 3, shape_.patch, shape_.patch});
  all.add(position_embedding_, {shape_.tokens(), width});
  all.add(pre_norm_);
  all.add(post_norm_);
  for (const Block& block : blocks_) {
    all.add(block.norm1);
    all.add(block.norm2);
    for (const Layer* layer : {&block.query, &block.key, &block.value, &block.out}) {
      all.add(*layer, {width, width});
    }
    all.add(block.fc1, {shape_.mlp_width, width});
    all.add(block.fc2, {width, shape_.mlp_width});
  }
  return all.sorted();
}

std::vector<AxisGroup> ClipVision::axis_groups() const {
  std::vector<EncoderBlock> blocks;
  for (const Block& block : blocks_) {
    blocks.push_back(
        {block.query, block.key, block.value, block.out, block.fc1, block.fc2, {block.norm1, block.norm2}});
  }
  return encoder_groups(
      blocks, {shape_.width, shape_.mlp_width, shape_.heads},
      {{class_embedding_, 0, true}, {patch_embedding_, 0, true}, {position_embedding_, 1, true}},
      {pre_norm_, post_norm_});
}

at::Tensor ClipVision::embed(const Weights& weights, const Inputs& inputs) const {
  const at::Tensor& kernel = weights.at(patch_embedding_);
  const at::Tensor patches = patches_of(inputs.images.to(kernel.scalar_type()), kernel);
  const at::Tensor class_token = weights.at(class_embedding_).expand({patches.size(0), 1, shape_.width});
  return pre_norm_(weights, concatenate({class_token, patches}, 1) + weights.at(position_embedding_));
}

at::Tensor ClipVision::attention(const Weights& weights, int64_t block, const at::Tensor& x,
                                 const at::Tensor& mask, const Pass& pass) const {
  const Block& names = at(block);
  const at::Tensor normed = names.norm1(weights, x);
  const at::Tensor query = apply(names.query, weights, normed, pass);
  const at::Tensor key = apply(names.key, weights, normed, pass);
  const at::Tensor value = apply(names.value, weights, normed, pass);
  const at::Tensor heads = attention_of_heads(query, key, value, shape_.heads, mask);
  show(pass, names.query.input, heads);
  return x + apply(names.out, weights, heads, pass);
}

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
  shape.activation = reader.activation("hidden_act", "quick_gelu", {"quick_gelu", "gelu"});
  shape.projection_required = whole;
  reader.require_only("num_channels", 3);
  reader.require(shape.width % shape.heads == 0, "num_attention_heads", "a divisor of hidden_size");
  reader.require(shape.patch <= shape.image, "patch_size", "at most image_size");
  return shape;
}

std::unique_ptr<Architecture> make(const nlohmann::json& config) {
  return std::make_unique<ClipVision>(read_shape(config));
}

nlohmann::json settings(const nlohmann::json& config) {
  const Shape shape = read_shape(config);
  return {{"hidden_size", shape.width},        {"intermediate_size", shape.mlp_width},
          {"num_hidden_layers", shape.blocks}, {"num_attention_heads", shape.heads},
          {"image_size", shape.image},         {"patch_size", shape.patch},
          {"layer_norm_eps", shape.epsilon},   {"hidden_act", to_string(shape.activation)}};
}

const bool registered = [] {
  architecture_registry().add("clip_vision_model", {make, settings});
  return true;
}();

}  // namespace
}  // namespace fusegrid::families::clip_vision
