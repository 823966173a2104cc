// GPT-2 with the parameter names of HuggingFace's GPT2Model: blocks of causal attention and an MLP, layer norms in
// front of both, positions from a table. A language model's head is its table of tokens.
//
// Source:  Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.
// Differs: matrices are [out, in], where files have them as [in, out]. Query, key and value are one layer, as there.
// Config:  model_type gpt2. Fields that are not given have HuggingFace's defaults; n_inner is null for 4 n_embd.
//          Dropout fields are ignored: nothing here evaluates or trains with dropout; nor does
//          reorder_and_upcast_attn change more than rounding.

#include <ATen/TensorOperators.h>
#include <nlohmann/json.hpp>

#include "models/config_reader.h"
#include "models/decoder.h"
#include "models/operators.h"

namespace fusegrid::families::gpt2 {
namespace {

struct Shape : DecoderShape {
  int64_t mlp_width = 0;
  double epsilon = 0;
  Activation activation = Activation::kGeluTanh;
};

// The names of one block, built once: a forward pass asks for them for every layer.
struct Block {
  Block(const std::string& prefix, const Shape& shape)
      : qkv(decoder_layer(prefix + "attn.c_attn", prefix + "attn.c_attn")),
        out(decoder_layer(prefix + "attn.c_proj", prefix + "attn.c_proj")),
        fc1(decoder_layer(prefix + "mlp.c_fc", prefix + "mlp.c_fc")),
        fc2(decoder_layer(prefix + "mlp.c_proj", prefix + "mlp.c_proj")),
        attention_norm(prefix + "ln_1", shape.width, shape.epsilon),
        mlp_norm(prefix + "ln_2", shape.width, shape.epsilon) {}
  Layer qkv, out, fc1, fc2;
  LayerNorm attention_norm, mlp_norm;
};

class Gpt2 final : public NamedDecoder<Shape, Block> {
 public:
  explicit Gpt2(const Shape& shape) : NamedDecoder(shape, "h.", "wte.weight", "ln_f") {}

  std::vector<TensorInfo> parameters() const override;
  std::vector<Layer> layers() const override;
  std::vector<std::string> names_in_files(const std::string& parameter) const override {
    return {parameter, "transformer." + parameter};
  }
  bool transposed_in_files(const std::string& parameter) const override {
    return parameter.ends_with("c_attn.weight") || parameter.ends_with("c_proj.weight") ||
           parameter.ends_with("c_fc.weight");
  }

  std::vector<Layer> mlp_layers(int64_t block) const override { return {at(block).fc1, at(block).fc2}; }
  at::Tensor mlp(const Weights& weights, int64_t block, const at::Tensor& input,
                 const Pass& pass) const override {
    const Block& names = at(block);
    return apply(names.fc2, weights, activate(shape_.activation, apply(names.fc1, weights, input, pass)),
                 pass);
  }

 protected:
  at::Tensor embed_tokens(const Weights& weights, const at::Tensor& tokens,
                          const at::Tensor& positions) const override {
    return embedded(weights.at(tokens_), tokens) +
           embedded(weights.at(positions_), positions.clamp_max(shape_.positions - 1));
  }
  Projected project(const Weights& weights, int64_t block, const at::Tensor& x, const at::Tensor& positions,
                    const Pass& pass) const override;

 private:
  std::string positions_ = "wpe.weight";
};

std::vector<TensorInfo> Gpt2::parameters() const {
  const int64_t width = shape_.width;
  ParameterList all;
  all.add(tokens_, {shape_.vocabulary, width});
  all.add(positions_, {shape_.positions, width});
  for (const Block& block : blocks_) {
    all.add(block.attention_norm);
    all.add(block.qkv, {3 * width, width});
    all.add(block.out, {width, width});
    all.add(block.mlp_norm);
    all.add(block.fc1, {shape_.mlp_width, width});
    all.add(block.fc2, {width, shape_.mlp_width});
  }
  all.add(norm_);
  return all.sorted();
}

std::vector<Layer> Gpt2::layers() const {
  std::vector<Layer> layers;
  for (const Block& block : blocks_) {
    layers.insert(layers.end(), {block.qkv, block.out, block.fc1, block.fc2});
  }
  return layers;
}

Decoder::Projected Gpt2::project(const Weights& weights, int64_t block, const at::Tensor& x,
                                 const at::Tensor& /*positions*/, const Pass& pass) const {
  const auto parts = apply(at(block).qkv, weights, at(block).attention_norm(weights, x), pass).chunk(3, 2);
  return {parts[0], parts[1], parts[2]};
}

Shape read_shape(const nlohmann::json& config) {
  const ConfigReader reader(config, "");
  Shape shape;
  shape.name = "gpt2";
  shape.width = reader.size("n_embd", 768);
  shape.mlp_width = reader.size_or_null("n_inner").value_or(4 * shape.width);
  shape.blocks = reader.size("n_layer", 12);
  shape.heads = reader.size("n_head", 12);
  shape.vocabulary = reader.size("vocab_size", 50257);
  shape.positions = reader.size("n_positions", 1024);
  shape.epsilon = reader.positive("layer_norm_epsilon", 1e-5);
  shape.activation = reader.activation("activation_function", "gelu_new",
                                       {"gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu"});
  if (is_language_model(config)) {
    shape.head = OwnHead{"wte.weight"};
  }
  reader.require_only("add_cross_attention", false);
  reader.require_only("scale_attn_weights", true);
  reader.require_only("scale_attn_by_inverse_layer_idx", false);
  reader.require_only("tie_word_embeddings", true);
  reader.require(shape.width % shape.heads == 0, "n_head", "a divisor of n_embd");
  return shape;
}

std::unique_ptr<Architecture> make(const nlohmann::json& config) {
  return std::make_unique<Gpt2>(read_shape(config));
}

nlohmann::json settings(const nlohmann::json& config) {
  const Shape shape = read_shape(config);
  return {{"model_type", shape.name},
          {"n_embd", shape.width},
          {"n_inner", shape.mlp_width},
          {"n_layer", shape.blocks},
          {"n_head", shape.heads},
          {"vocab_size", shape.vocabulary},
          {"n_positions", shape.positions},
          {"layer_norm_epsilon", shape.epsilon},
          {"activation_function", to_string(shape.activation)}};
}

const bool registered = [] {
  architecture_registry().add("gpt2", {make, settings});
  return true;
}();

}  // namespace
}  // namespace fusegrid::families::gpt2
