// Llama, Mistral, Qwen2 and Mixtral with the parameter names of HuggingFace's ...ForCausalLM: blocks of causal
// attention and a gated MLP, norms by the root of the mean square in front of both, positions as rotations of queries
// and keys. Mixtral has several MLPs in each block, of which a router gives every token the best few.
//
// Source:  Touvron et al., "LLaMA: Open and Efficient Foundation Language Models", arXiv:2302.13971; Jiang et al.,
//          "Mistral 7B", arXiv:2310.06825; Yang et al., "Qwen2 Technical Report", arXiv:2407.10671; Jiang et al.,
//          "Mixtral of Experts", arXiv:2401.04088; Su et al., "RoFormer", arXiv:2104.09864.
// Differs: attention has no window: rows are at most as long as the window of the configuration, where it has one, and
//          then the window leaves nothing out. Mixtral's MLPs compute all tokens, and those not chosen count as 0: the
//          same function at the cost of a dense model, but a layer's input has the same rows in every family.
// Config:  model_type llama, mistral, qwen2 or mixtral. Fields that are not given have HuggingFace's defaults.
//          Positions are not scaled, or as Llama 3 does. rope_parameters, as transformers 5 writes them, count before
//          rope_theta and rope_scaling. Dropout and the training of routers are ignored.

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/promote_types.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros_like.h>
#include <nlohmann/json.hpp>

#include "core/concatenate.h"
#include "models/config_reader.h"
#include "models/decoder.h"
#include "models/operators.h"

namespace fusegrid::families::llama {
namespace {

using nlohmann::json;

// Llama 3's of the frequencies: those that turn more than `most` times in `length` tokens stay, those that turn less
// than `least` times are divided by the factor, and between them the two are mixed.
struct Scaling {
  double factor = 1, least = 0, most = 0;
  int64_t length = 0;
};

struct Shape : DecoderShape {
  int64_t head_size = 0, key_heads = 0, mlp_width = 0;
  int64_t experts = 0, chosen = 0;  // 0: one MLP without a router
  bool query_bias = false, out_bias = false, mlp_bias = false, tied = false;
  double epsilon = 0, theta = 0;
  std::optional<Scaling> scaling = {};
  Activation activation = Activation::kSilu;
};

// Radians that a token's position turns each pair of a head's entries by: float [head size / 2].
at::Tensor frequencies(const Shape& shape) {
  const at::Tensor exponents = at::arange(0, shape.head_size, 2, at::kFloat) / shape.head_size;
  const at::Tensor plain = at::pow(shape.theta, exponents).reciprocal();
  if (!shape.scaling) {
    return plain;
  }
  const Scaling& scaling = *shape.scaling;
  const at::Tensor turns = plain * (static_cast<double>(scaling.length) / (2 * M_PI));
  const at::Tensor kept = ((turns - scaling.least) / (scaling.most - scaling.least)).clamp(0, 1);
  return plain * (kept + (1 - kept) / scaling.factor);
}

// Entry i of a head and the one half a head behind it, turned. x: [n, rows, heads * size]; angles: [1 or n, rows, 1,
// size / 2].
at::Tensor turned(const at::Tensor& x, const at::Tensor& angles) {
  const at::Tensor wide = x.to(at::promote_types(x.scalar_type(), at::kFloat));
  const auto halves = wide.unflatten(2, {-1, 2 * angles.size(3)}).chunk(2, 3);
  const at::Tensor cos = angles.cos();
  const at::Tensor sin = angles.sin();
  return concatenate({halves[0] * cos - halves[1] * sin, halves[1] * cos + halves[0] * sin}, 3)
      .flatten(2)
      .to(x.scalar_type());
}

// Logits of a router [n, rows, experts] -> what of each expert's output a token gets: of the best `chosen` their
// probabilities, which are made to sum to one, of the others 0.
at::Tensor shares(const at::Tensor& logits, int64_t chosen) {
  const auto wide = at::promote_types(logits.scalar_type(), at::kFloat);
  const at::Tensor probabilities = at::softmax(logits, 2, wide);
  const auto [best, experts] = at::topk(probabilities, chosen, 2);
  return at::zeros_like(probabilities)
      .scatter(2, experts, best / best.sum(2, /*keepdim=*/true))
      .to(logits.scalar_type());
}

struct GatedMlp {
  Layer gate, up, down;
};

GatedMlp gated_mlp(const std::string& prefix, const char* gate, const char* up, const char* down,
                   const std::string& input) {
  return {decoder_layer(prefix + gate, input), decoder_layer(prefix + up, input),
          decoder_layer(prefix + down, prefix + down)};
}

// The names of one block, built once: a forward pass asks for them for every layer.
struct Block {
  Block(const std::string& prefix, const Shape& shape)
      : query(decoder_layer(prefix + "self_attn.q_proj", prefix + "self_attn")),
        key(decoder_layer(prefix + "self_attn.k_proj", prefix + "self_attn")),
        value(decoder_layer(prefix + "self_attn.v_proj", prefix + "self_attn")),
        out(decoder_layer(prefix + "self_attn.o_proj", prefix + "self_attn.o_proj")),
        attention_norm(prefix + "input_layernorm", shape.width, shape.epsilon),
        mlp_norm(prefix + "post_attention_layernorm", shape.width, shape.epsilon) {
    if (shape.experts == 0) {
      mlps.push_back(gated_mlp(prefix + "mlp.", "gate_proj", "up_proj", "down_proj", prefix + "mlp"));
      return;
    }
    const std::string mixture = prefix + "block_sparse_moe";
    router = decoder_layer(mixture + ".gate", mixture);
    for (int64_t i = 0; i < shape.experts; ++i) {
      mlps.push_back(gated_mlp(mixture + ".experts." + std::to_string(i) + ".", "w1", "w3", "w2", mixture));
    }
  }
  Layer query, key, value, out;
  std::optional<Layer> router;
  std::vector<GatedMlp> mlps;  // one, or those that a router chooses from
  RmsNorm attention_norm, mlp_norm;
};

class Llama final : public NamedDecoder<Shape, Block> {
 public:
  explicit Llama(const Shape& shape)
      : NamedDecoder(shape, "model.layers.", "model.embed_tokens.weight", "model.norm"),
        frequencies_(frequencies(shape)) {}

  std::vector<TensorInfo> parameters() const override;
  std::vector<Layer> layers() const override;
  // Files of a model without a head have no prefix.
  std::vector<std::string> names_in_files(const std::string& parameter) const override {
    const std::string prefix = "model.";
    return parameter.starts_with(prefix) ? std::vector{parameter, parameter.substr(prefix.size())}
                                         : std::vector{parameter};
  }

  std::vector<Layer> mlp_layers(int64_t block) const override;
  at::Tensor mlp(const Weights& weights, int64_t block, const at::Tensor& input,
                 const Pass& pass) const override;

 protected:
  at::Tensor embed_tokens(const Weights& weights, const at::Tensor& tokens,
                          const at::Tensor& /*positions*/) const override {
    return embedded(weights.at(tokens_), tokens);
  }
  Projected project(const Weights& weights, int64_t block, const at::Tensor& x, const at::Tensor& positions,
                    const Pass& pass) const override;

 private:
  at::Tensor gated(const GatedMlp& names, const Weights& weights, const at::Tensor& x,
                   const Pass& pass) const {
    const at::Tensor gate = activate(shape_.activation, apply(names.gate, weights, x, pass));
    return apply(names.down, weights, gate * apply(names.up, weights, x, pass), pass);
  }

  at::Tensor frequencies_;
};

std::vector<TensorInfo> Llama::parameters() const {
  const int64_t width = shape_.width;
  const int64_t queries = shape_.heads * shape_.head_size;
  const int64_t keys = shape_.key_heads * shape_.head_size;
  ParameterList all;
  all.add(tokens_, {shape_.vocabulary, width});
  for (const Block& block : blocks_) {
    all.add(block.attention_norm);
    all.add(block.query, {queries, width}, shape_.query_bias);
    all.add(block.key, {keys, width}, shape_.query_bias);
    all.add(block.value, {keys, width}, shape_.query_bias);
    all.add(block.out, {width, queries}, shape_.out_bias);
    all.add(block.mlp_norm);
    if (block.router) {
      all.add(*block.router, {shape_.experts, width}, false);
    }
    for (const GatedMlp& mlp : block.mlps) {
      all.add(mlp.gate, {shape_.mlp_width, width}, shape_.mlp_bias);
      all.add(mlp.up, {shape_.mlp_width, width}, shape_.mlp_bias);
      all.add(mlp.down, {width, shape_.mlp_width}, shape_.mlp_bias);
    }
  }
  all.add(norm_);
  if (shape_.head && shape_.head->weight != tokens_) {
    all.add(shape_.head->weight, {shape_.vocabulary, width});
  }
  return all.sorted();
}

std::vector<Layer> Llama::layers() const {
  std::vector<Layer> layers;
  for (int64_t i = 0; i < shape_.blocks; ++i) {
    const Block& block = at(i);
    const std::vector<Layer> of_mlp = mlp_layers(i);
    layers.insert(layers.end(), {block.query, block.key, block.value, block.out});
    layers.insert(layers.end(), of_mlp.begin(), of_mlp.end());
  }
  return layers;
}

std::vector<Layer> Llama::mlp_layers(int64_t block) const {
  std::vector<Layer> layers;
  if (at(block).router) {
    layers.push_back(*at(block).router);
  }
  for (const GatedMlp& mlp : at(block).mlps) {
    layers.insert(layers.end(), {mlp.gate, mlp.up, mlp.down});
  }
  return layers;
}

at::Tensor Llama::mlp(const Weights& weights, int64_t block, const at::Tensor& input,
                      const Pass& pass) const {
  const Block& names = at(block);
  if (!names.router) {
    return gated(names.mlps.front(), weights, input, pass);
  }
  const at::Tensor parts = shares(apply(*names.router, weights, input, pass), shape_.chosen);
  at::Tensor sum = at::zeros_like(input);
  for (int64_t i = 0; i < shape_.experts; ++i) {
    sum = sum + gated(names.mlps[static_cast<size_t>(i)], weights, input, pass) * parts.narrow(2, i, 1);
  }
  return sum;
}

Decoder::Projected Llama::project(const Weights& weights, int64_t block, const at::Tensor& x,
                                  const at::Tensor& positions, const Pass& pass) const {
  const Block& names = at(block);
  const at::Tensor normed = names.attention_norm(weights, x);
  const at::Tensor query = apply(names.query, weights, normed, pass);
  const at::Tensor key = apply(names.key, weights, normed, pass);
  const at::Tensor value = apply(names.value, weights, normed, pass);
  const at::Tensor angles =
      (positions.to(at::kFloat).unsqueeze(2) * frequencies_.to(positions.device())).unsqueeze(2);
  return {turned(query, angles), turned(key, angles), value};
}

// What HuggingFace's configurations of a type have where a field is not given.
struct Defaults {
  int64_t mlp_width, vocabulary, positions;
  std::optional<int64_t> key_heads;  // nothing: as many as there are heads
  std::optional<int64_t> window;     // nothing: none
  double epsilon, theta;
};

const std::map<std::string, Defaults>& defaults() {
  static const std::map<std::string, Defaults> all{
      {"llama", {11008, 32000, 2048, {}, {}, 1e-6, 1e4}},
      {"mistral", {14336, 32000, 131072, 8, 4096, 1e-6, 1e4}},
      {"qwen2", {22016, 151936, 32768, 32, 4096, 1e-6, 1e4}},
      {"mixtral", {14336, 32000, 131072, 8, {}, 1e-5, 1e6}},
  };
  return all;
}

void read_rotation(const json& config, const Defaults& otherwise, Shape& shape) {
  const bool together = config.contains("rope_parameters");
  const char* field = together ? "rope_parameters" : "rope_scaling";
  const json given = config.value(field, json());
  const ConfigReader reader(config, "");
  reader.require(given.is_null() || given.is_object(), field, "an object or null");
  const json rope = given.is_null() ? json::object() : given;
  const ConfigReader of_rope(rope, std::string(field) + ".");
  shape.theta = (together ? of_rope : reader).positive("rope_theta", otherwise.theta);
  (together ? of_rope : reader).require_only("partial_rotary_factor", 1);
  const std::string type = rope.contains("rope_type") ? "rope_type" : "type";  // as it was called first
  if (rope.value(type, json("default")) == "default") {
    return;
  }
  of_rope.require(rope[type] == "llama3", type, "default or llama3");
  const auto number = [&](const char* name) { return of_rope.positive(name, 0); };
  shape.scaling = Scaling{number("factor"), number("low_freq_factor"), number("high_freq_factor"),
                          of_rope.size("original_max_position_embeddings")};
  of_rope.require(shape.scaling->most > shape.scaling->least, "high_freq_factor",
                  "more than low_freq_factor");
}

// The most tokens that a row may have so that a window of attention leaves none out.
int64_t read_positions(const ConfigReader& reader, const std::string& type, const Defaults& otherwise) {
  const int64_t positions = reader.size("max_position_embeddings", otherwise.positions);
  const bool has_window =
      type == "mistral" || type == "mixtral" || (type == "qwen2" && reader.flag("use_sliding_window", false));
  const auto window = has_window ? reader.size_or_null("sliding_window", otherwise.window) : std::nullopt;
  return std::min(positions, window.value_or(positions));
}

Shape read_shape(const json& config) {
  const ConfigReader reader(config, "");
  Shape shape;
  shape.name = config.value("model_type", "");
  const Defaults& otherwise = defaults().at(shape.name);
  shape.width = reader.size("hidden_size", 4096);
  shape.mlp_width = reader.size("intermediate_size", otherwise.mlp_width);
  shape.blocks = reader.size("num_hidden_layers", 32);
  shape.heads = reader.size("num_attention_heads", 32);
  shape.key_heads = reader.size_or_null("num_key_value_heads", otherwise.key_heads).value_or(shape.heads);
  const auto head_size = reader.size_or_null("head_dim");
  reader.require(head_size || shape.width % shape.heads == 0, "num_attention_heads",
                 "a divisor of hidden_size");
  shape.head_size = head_size.value_or(shape.width / shape.heads);
  shape.vocabulary = reader.size("vocab_size", otherwise.vocabulary);
  shape.positions = read_positions(reader, shape.name, otherwise);
  shape.epsilon = reader.positive("rms_norm_eps", otherwise.epsilon);
  shape.activation =
      reader.activation("hidden_act", "silu", {"silu", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu"});
  read_rotation(config, otherwise, shape);
  if (shape.name == "llama") {
    shape.query_bias = shape.out_bias = reader.flag("attention_bias", false);
    shape.mlp_bias = reader.flag("mlp_bias", false);
  }
  shape.query_bias |= shape.name == "qwen2";
  if (shape.name == "mixtral") {
    shape.experts = reader.size("num_local_experts", 8);
    shape.chosen = reader.size("num_experts_per_tok", 2);
    reader.require(shape.chosen <= shape.experts, "num_experts_per_tok", "at most num_local_experts");
  }
  shape.tied = reader.flag("tie_word_embeddings", false);
  if (is_language_model(config)) {
    shape.head = OwnHead{shape.tied ? "model.embed_tokens.weight" : "lm_head.weight"};
  }
  reader.require(shape.heads % shape.key_heads == 0, "num_key_value_heads",
                 "a divisor of num_attention_heads");
  reader.require(shape.head_size % 2 == 0, head_size ? "head_dim" : "num_attention_heads",
                 "such that heads have an even size");
  return shape;
}

std::unique_ptr<Architecture> make(const json& config) {
  return std::make_unique<Llama>(read_shape(config));
}

json settings(const json& config) {
  const Shape shape = read_shape(config);
  json all{{"model_type", shape.name},
           {"hidden_size", shape.width},
           {"intermediate_size", shape.mlp_width},
           {"num_hidden_layers", shape.blocks},
           {"num_attention_heads", shape.heads},
           {"num_key_value_heads", shape.key_heads},
           {"head_dim", shape.head_size},
           {"vocab_size", shape.vocabulary},
           {"rms_norm_eps", shape.epsilon},
           {"hidden_act", to_string(shape.activation)},
           {"rope_theta", shape.theta},
           {"rope_scaling", nullptr},
           {"tie_word_embeddings", shape.tied}};
  if (shape.scaling) {
    all["rope_scaling"] = {{"rope_type", "llama3"},
                           {"factor", shape.scaling->factor},
                           {"low_freq_factor", shape.scaling->least},
                           {"high_freq_factor", shape.scaling->most},
                           {"original_max_position_embeddings", shape.scaling->length}};
  }
  if (shape.name == "llama") {
    all["attention_bias"] = shape.query_bias;
    all["mlp_bias"] = shape.mlp_bias;
  }
  if (shape.experts > 0) {
    all["num_local_experts"] = shape.experts;
    all["num_experts_per_tok"] = shape.chosen;
  }
  return all;
}

const bool registered = [] {
  for (const auto& [type, unused] : defaults()) {
    architecture_registry().add(type, {make, settings});
  }
  return true;
}();

}  // namespace
}  // namespace fusegrid::families::llama
