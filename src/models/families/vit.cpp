// The Vision Transformer with the parameter names of HuggingFace's ViTModel, without its pooler: readouts read the
// first token.
//
// Source:  Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", ICLR 2021,
//          arXiv:2010.11929.
// Config:  model_type vit. Fields that are not given have HuggingFace's defaults. num_labels: of a head inside the
//          model (models/class_head.h). Dropout fields are ignored: nothing here evaluates or trains with dropout.

#include <ATen/TensorOperators.h>
#include <nlohmann/json.hpp>

#include "core/concatenate.h"
#include "models/class_head.h"
#include "models/config_reader.h"
#include "models/encoder_groups.h"
#include "models/operators.h"

namespace fusegrid::families::vit {
namespace {

constexpr const char* kPrefix = "vit.";  // in files of a model with a head

struct Shape {
  int64_t width = 0, mlp_width = 0, blocks = 0, heads = 0, image = 0, patch = 0;
  ClassHead head = {};
  bool qkv_bias = true;
  double epsilon = 0;
  Activation activation = Activation::kGelu;

  // Patches that do not fit are left out, as the convolution does.
  int64_t tokens() const { return (image / patch) * (image / patch) + 1; }
};

// The names of one block, built once: a forward pass asks for them for every layer.
struct Block {
  Block(const std::string& prefix, const Shape& shape)
      : norm1(prefix + "layernorm_before", shape.width, shape.epsilon),
        norm2(prefix + "layernorm_after", shape.width, shape.epsilon),
        query(prefix + "attention.attention.query", prefix + "attention"),
        key(prefix + "attention.attention.key", prefix + "attention"),
        value(prefix + "attention.attention.value", prefix + "attention"),
        out(prefix + "attention.output.dense"),
        fc1(prefix + "intermediate.dense"),
        fc2(prefix + "output.dense") {}
  LayerNorm norm1, norm2;
  Layer query, key, value, out, fc1, fc2;
};

class Vit final : public BlockArchitecture {
 public:
  explicit Vit(const Shape& shape) : shape_(shape) {
    for (int64_t i = 0; i < shape.blocks; ++i) {
      blocks_.emplace_back("encoder.layer." + std::to_string(i) + ".", shape);
    }
  }

  std::string name() const override { return "vit"; }
  InputFormat input() const override { return {.image_size = shape_.image}; }
  int64_t feature_size() const override { return shape_.width; }
  int64_t num_tokens() const override { return shape_.tokens(); }
  std::optional<OwnHead> own_head() const override { return shape_.head.own_head(Pooling::kFirst); }
  std::vector<TensorInfo> parameters() const override;
  std::vector<std::string> names_in_files(const std::string& parameter) const override {
    return parameter.starts_with("classifier.") ? std::vector<std::string>{parameter}
                                                : std::vector<std::string>{parameter, kPrefix + parameter};
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
    return pooling == Pooling::kMean ? pooled(last_norm_(weights, x), {}, pooling)
                                     : last_norm_(weights, pooled(x, {}, pooling));
  }

 private:
  std::string residual_stream() const override { return kResidualStream; }
  const Block& at(int64_t block) const { return blocks_.at(static_cast<size_t>(block)); }

  Shape shape_;
  std::vector<Block> blocks_;
  std::string class_token_ = "embeddings.cls_token";
  std::string positions_ = "embeddings.position_embeddings";
  Layer patches_{"embeddings.patch_embeddings.projection"};
  LayerNorm last_norm_{"layernorm", shape_.width, shape_.epsilon};
};

std::vector<TensorInfo> Vit::parameters() const {
  const int64_t width = shape_.width;
  ParameterList all;
  all.add(class_token_, {1, 1, width});
  all.add(positions_, {1, shape_.tokens(), width});
  all.add(patches_, {width, 3, shape_.patch, shape_.patch});
  all.add(last_norm_);
  for (const Block& block : blocks_) {
    all.add(block.norm1);
    all.add(block.norm2);
    for (const Layer* layer : {&block.query, &block.key, &block.value}) {
      all.add(*layer, {width, width}, shape_.qkv_bias);
    }
    all.add(block.out, {width, width});
    all.add(block.fc1, {shape_.mlp_width, width});
    all.add(block.fc2, {width, shape_.mlp_width});
  }
  shape_.head.add_to(all, width);
  return all.sorted();
}

std::vector<AxisGroup> Vit::axis_groups() const {
  std::vector<EncoderBlock> blocks;
  for (const Block& block : blocks_) {
    blocks.push_back({block.query,
                      block.key,
                      block.value,
                      block.out,
                      block.fc1,
                      block.fc2,
                      {block.norm1, block.norm2},
                      shape_.qkv_bias});
  }
  auto groups = encoder_groups(
      blocks, {shape_.width, shape_.mlp_width, shape_.heads},
      {{class_token_, 2, true}, {positions_, 2, true}, {patches_.weight, 0, true}, {patches_.bias, 0, true}},
      {last_norm_});
  shape_.head.add_to(groups);
  return groups;
}

at::Tensor Vit::embed(const Weights& weights, const Inputs& inputs) const {
  const at::Tensor& kernel = weights.at(patches_.weight);
  const at::Tensor patches =
      patches_of(inputs.images.to(kernel.scalar_type()), kernel) + weights.at(patches_.bias);
  const at::Tensor class_token = weights.at(class_token_).expand({patches.size(0), 1, shape_.width});
  return concatenate({class_token, patches}, 1) + weights.at(positions_);
}

at::Tensor Vit::attention(const Weights& weights, int64_t block, const at::Tensor& x, const at::Tensor& mask,
                          const Pass& pass) const {
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
  const ConfigReader reader(config, "");
  Shape shape;
  shape.width = reader.size("hidden_size", 768);
  shape.mlp_width = reader.size("intermediate_size", 3072);
  shape.blocks = reader.size("num_hidden_layers", 12);
  shape.heads = reader.size("num_attention_heads", 12);
  shape.image = reader.size("image_size", 224);
  shape.patch = reader.size("patch_size", 16);
  shape.head = ClassHead::read(reader);
  shape.qkv_bias = reader.flag("qkv_bias", true);
  shape.epsilon = reader.positive("layer_norm_eps", 1e-12);
  shape.activation = reader.activation("hidden_act", "gelu", {"gelu", "gelu_new", "relu", "quick_gelu"});
  reader.require_only("num_channels", 3);
  reader.require(shape.width % shape.heads == 0, "num_attention_heads", "a divisor of hidden_size");
  reader.require(shape.patch <= shape.image, "patch_size", "at most image_size");
  return shape;
}

std::unique_ptr<Architecture> make(const nlohmann::json& config) {
  return std::make_unique<Vit>(read_shape(config));
}

nlohmann::json settings(const nlohmann::json& config) {
  const Shape shape = read_shape(config);
  return {{"model_type", "vit"},
          {"hidden_size", shape.width},
          {"intermediate_size", shape.mlp_width},
          {"num_hidden_layers", shape.blocks},
          {"num_attention_heads", shape.heads},
          {"image_size", shape.image},
          {"patch_size", shape.patch},
          {"layer_norm_eps", shape.epsilon},
          {"hidden_act", to_string(shape.activation)},
          {"qkv_bias", shape.qkv_bias},
          {"num_labels", shape.head.labels}};
}

const bool registered = [] {
  architecture_registry().add("vit", {make, settings});
  return true;
}();

}  // namespace
}  // namespace fusegrid::families::vit
