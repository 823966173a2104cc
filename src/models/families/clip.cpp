// CLIP with the parameter names of HuggingFace's CLIPModel: a tower that reads images, one that reads tokens, and the
// projections of both into one space. All of it is merged.
//
// Images are read by the vision tower (families/clip_vision.cpp), tokens by a causal stack of blocks, of which the last
// token that counts is kept: rows end with the token that ends a text. Features are what the projections make.
//
// Source:  Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
//          arXiv:2103.00020.
// Config:  model_type clip with merged_towers "both", a field of ours. By default it is "vision": then text tower,
//          projections and scale are no part of the model, and the architecture is clip_vision_model. Fields that are
//          not given have HuggingFace's defaults. Dropout fields are ignored: nothing here evaluates or trains with
//          dropout.

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>
#include <nlohmann/json.hpp>

#include "core/errors.h"
#include "models/config_reader.h"
#include "models/decoder.h"
#include "models/operators.h"

namespace fusegrid::families::clip {
namespace {

constexpr auto kVision = "clip_vision_model";

struct TextShape : DecoderShape {
  int64_t mlp_width = 0;
  double epsilon = 0;
  Activation activation = Activation::kQuickGelu;
};

// The names of one block, built once: a forward pass asks for them for every layer.
struct TextBlock {
  TextBlock(const std::string& prefix, const TextShape& shape)
      : query(decoder_layer(prefix + "self_attn.q_proj", prefix + "self_attn")),
        key(decoder_layer(prefix + "self_attn.k_proj", prefix + "self_attn")),
        value(decoder_layer(prefix + "self_attn.v_proj", prefix + "self_attn")),
        out(decoder_layer(prefix + "self_attn.out_proj", prefix + "self_attn.out_proj")),
        fc1(decoder_layer(prefix + "mlp.fc1", prefix + "mlp.fc1")),
        fc2(decoder_layer(prefix + "mlp.fc2", prefix + "mlp.fc2")),
        attention_norm(prefix + "layer_norm1", shape.width, shape.epsilon),
        mlp_norm(prefix + "layer_norm2", shape.width, shape.epsilon) {}
  Layer query, key, value, out, fc1, fc2;
  LayerNorm attention_norm, mlp_norm;
};

class TextTower final : public NamedDecoder<TextShape, TextBlock> {
 public:
  explicit TextTower(const TextShape& shape)
      : NamedDecoder(shape, "text_model.encoder.layers.", "text_model.embeddings.token_embedding.weight",
                     "text_model.final_layer_norm") {}

  std::vector<TensorInfo> parameters() const override;
  std::vector<Layer> layers() const override {
    std::vector<Layer> layers;
    for (const TextBlock& block : blocks_) {
      layers.insert(layers.end(), {block.query, block.key, block.value, block.out, block.fc1, block.fc2});
    }
    return layers;
  }
  std::vector<Layer> mlp_layers(int64_t block) const override { return {at(block).fc1, at(block).fc2}; }
  at::Tensor mlp(const Weights& weights, int64_t block, const at::Tensor& input,
                 const Pass& pass) const override {
    const TextBlock& names = at(block);
    const at::Tensor hidden = activate(shape_.activation, apply(names.fc1, weights, input, pass));
    return apply(names.fc2, weights, hidden, pass);
  }

 protected:
  at::Tensor embed_tokens(const Weights& weights, const at::Tensor& tokens,
                          const at::Tensor& positions) const override {
    return embedded(weights.at(tokens_), tokens) +
           embedded(weights.at(positions_), positions.clamp_max(shape_.positions - 1));
  }
  Projected project(const Weights& weights, int64_t block, const at::Tensor& x,
                    const at::Tensor& /*positions*/, const Pass& pass) const override {
    const TextBlock& names = at(block);
    const at::Tensor normed = names.attention_norm(weights, x);
    at::Tensor query = apply(names.query, weights, normed, pass);
    at::Tensor key = apply(names.key, weights, normed, pass);
    return {std::move(query), std::move(key), apply(names.value, weights, normed, pass)};
  }

 private:
  std::string positions_ = "text_model.embeddings.position_embedding.weight";
};

std::vector<TensorInfo> TextTower::parameters() const {
  const int64_t width = shape_.width;
  ParameterList all;
  all.add(tokens_, {shape_.vocabulary, width});
  all.add(positions_, {shape_.positions, width});
  for (const TextBlock& block : blocks_) {
    all.add(block.attention_norm);
    all.add(block.mlp_norm);
    for (const Layer* layer : {&block.query, &block.key, &block.value, &block.out}) {
      all.add(*layer, {width, width});
    }
    all.add(block.fc1, {shape_.mlp_width, width});
    all.add(block.fc2, {width, shape_.mlp_width});
  }
  all.add(norm_);
  return all.sorted();
}

class Clip final : public Architecture {
 public:
  Clip(std::unique_ptr<const Architecture> vision, const TextShape& text, int64_t projection)
      : vision_(std::move(vision)), text_(text), projection_(projection) {}

  std::string name() const override { return "clip"; }
  InputFormat input() const override {
    const InputFormat text = text_.input();
    return {.image_size = vision_->input().image_size,
            .vocabulary = text.vocabulary,
            .positions = text.positions};
  }
  int64_t feature_size() const override { return projection_; }
  int64_t num_tokens() const override { return vision_->num_tokens(); }
  std::vector<TensorInfo> parameters() const override;
  std::vector<Layer> layers() const override;
  at::Tensor features(const Weights& weights, const Inputs& inputs, Pooling pooling,
                      const Pass& pass) const override;

 private:
  std::unique_ptr<const Architecture> vision_;
  TextTower text_;
  int64_t projection_;
  Layer of_images_{"visual_projection"};
  Layer of_tokens_ = decoder_layer("text_projection", "text_projection");
};

std::vector<TensorInfo> Clip::parameters() const {
  ParameterList all;
  all.add("logit_scale", {});
  for (const Architecture* tower : {vision_.get(), static_cast<const Architecture*>(&text_)}) {
    for (const TensorInfo& info : tower->parameters()) {
      all.add(info.name, info.shape);
    }
  }
  all.add(of_images_, {projection_, vision_->feature_size()}, false);
  all.add(of_tokens_, {projection_, text_.feature_size()}, false);
  return all.sorted();
}

std::vector<Layer> Clip::layers() const {
  std::vector<Layer> all = vision_->layers();
  all.push_back(of_images_);
  const std::vector<Layer> of_text = text_.layers();
  all.insert(all.end(), of_text.begin(), of_text.end());
  all.push_back(of_tokens_);
  return all;
}

// Of pairs, [n, 2, feature_size()]: the image's row and the text's.
at::Tensor Clip::features(const Weights& weights, const Inputs& inputs, Pooling pooling,
                          const Pass& pass) const {
  at::Tensor of_images, of_tokens;
  if (inputs.images.defined()) {
    const Inputs images{inputs.images, {}, {}};
    of_images = apply(of_images_, weights, vision_->features(weights, images, pooling, pass), pass);
  }
  if (inputs.tokens.defined()) {
    const Inputs tokens{{}, inputs.tokens, inputs.lengths};
    const Pooling of_text = pooling == Pooling::kFirst ? Pooling::kLast : pooling;
    of_tokens = apply(of_tokens_, weights, text_.features(weights, tokens, of_text, {pass.layer}), pass);
  }
  if (!of_images.defined() || !of_tokens.defined()) {
    return of_images.defined() ? of_images : of_tokens;
  }
  if (pooling == Pooling::kNone) {
    throw ConfigError("clip: of a picture with its text there are no features without pooling");
  }
  if (!inputs.pairs) {
    throw ConfigError(
        "clip: its towers read pictures and texts apart, and none reads a picture with a question");
  }
  return at::stack({of_images, of_tokens}, 1);
}

// ---- config.json

bool merges_both(const nlohmann::json& config) {
  const ConfigReader reader(config, "");
  return reader.one_of("merged_towers", "vision", {"vision", "both"}) == "both";
}

TextShape read_text_shape(const nlohmann::json& config) {
  const ConfigReader outer(config, "");
  outer.require(config.contains("text_config") && config["text_config"].is_object(), "text_config",
                "an object");
  const ConfigReader reader(config["text_config"], "text_config.");
  TextShape shape;
  shape.name = "clip_text_model";
  shape.width = reader.size("hidden_size", 512);
  shape.mlp_width = reader.size("intermediate_size", 2048);
  shape.blocks = reader.size("num_hidden_layers", 12);
  shape.heads = reader.size("num_attention_heads", 8);
  shape.vocabulary = reader.size("vocab_size", 49408);
  shape.positions = reader.size("max_position_embeddings", 77);
  shape.epsilon = reader.positive("layer_norm_eps", 1e-5);
  shape.activation = reader.activation("hidden_act", "quick_gelu", {"quick_gelu", "gelu"});
  reader.require(shape.width % shape.heads == 0, "num_attention_heads", "a divisor of hidden_size");
  return shape;
}

const ArchitectureFamily& vision_family() {
  return architecture_registry().at(kVision);
}

std::unique_ptr<Architecture> make(const nlohmann::json& config) {
  std::unique_ptr<Architecture> vision = vision_family().make(config);
  if (!merges_both(config)) {
    return vision;
  }
  return std::make_unique<Clip>(std::move(vision), read_text_shape(config),
                                ConfigReader(config, "").size("projection_dim", 512));
}

nlohmann::json settings(const nlohmann::json& config) {
  const nlohmann::json vision = vision_family().settings(config);
  if (!merges_both(config)) {
    return vision;
  }
  const TextShape text = read_text_shape(config);
  return {{"model_type", "clip"},
          {"merged_towers", "both"},
          {"projection_dim", ConfigReader(config, "").size("projection_dim", 512)},
          {"vision_config", vision},
          {"text_config",
           {{"hidden_size", text.width},
            {"intermediate_size", text.mlp_width},
            {"num_hidden_layers", text.blocks},
            {"num_attention_heads", text.heads},
            {"vocab_size", text.vocabulary},
            {"max_position_embeddings", text.positions},
            {"layer_norm_eps", text.epsilon},
            {"hidden_act", to_string(text.activation)}}}};
}

const bool registered = [] {
  architecture_registry().add("clip", {make, settings});
  return true;
}();

}  // namespace
}  // namespace fusegrid::families::clip
