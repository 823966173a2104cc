// T5 and Flan-T5 with the parameter names of HuggingFace's T5ForConditionalGeneration: an encoder reads the input, a
// decoder the answer, and looks at what the encoder made. Norms before the sublayers, no biases, scores of attention
// that are not scaled but have a bias of the relative position, which the blocks of a stack share.
//
// Source:  Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", JMLR 21,
//          2020, arXiv:1910.10683; Shazeer, "GLU Variants Improve Transformer", 2020, arXiv:2002.05202 (gated MLPs);
//          Chung et al., "Scaling Instruction-Finetuned Language Models", JMLR 25, 2024, arXiv:2210.11416 (Flan-T5).
// Differs: in bfloat16 scores are added up and put through the softmax in float32; HuggingFace's are rounded between.
// Config:  model_type t5. Fields that are not given have HuggingFace's defaults; decoder_start_token_id must be given.
//          n_positions (512) is the longest row of an input, though the function has no limit: positions are relative.
//          Dropout fields are ignored: nothing here evaluates or trains with dropout.

#include <algorithm>
#include <array>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <nlohmann/json.hpp>

#include "core/concatenate.h"
#include "core/errors.h"
#include "models/config_reader.h"
#include "models/operators.h"
#include "models/relative_positions.h"

namespace fusegrid::families::t5 {
namespace {

constexpr const char* kEmbeddings = "shared.weight";
constexpr const char* kHead = "lm_head.weight";
constexpr const char* kEncoded =
    "encoder.final_layer_norm";  // what keys and values of the decoder's blocks read

struct FeedForward {
  const char* name;
  bool gated;
  Activation activation;
};
// HuggingFace's gated-gelu takes the approximation by tanh, its gelu does not.
constexpr std::array<FeedForward, 5> kFeedForwards{{{"relu", false, Activation::kRelu},
                                                    {"gelu", false, Activation::kGelu},
                                                    {"gelu_new", false, Activation::kGeluTanh},
                                                    {"gated-relu", true, Activation::kRelu},
                                                    {"gated-gelu", true, Activation::kGeluTanh}}};

struct Shape {
  int64_t width = 0, heads = 0, head_width = 0, mlp_width = 0, encoder_blocks = 0, decoder_blocks = 0;
  int64_t vocabulary = 0, positions = 0, answer_start = 0;
  Buckets buckets;  // of relative positions
  double epsilon = 0;
  FeedForward feed_forward = kFeedForwards.front();
  bool tied = true;  // the head is the embeddings

  int64_t attention_width() const { return heads * head_width; }
};

Layer layer_of(const std::string& name, const std::string& input, Rows rows) {
  Layer layer(name, input);
  layer.rows = rows;
  return layer;
}

struct Attention {
  // keys_input, keys_rows: what keys and values read.
  Attention(const std::string& prefix, const std::string& name, Rows rows, const std::string& keys_input,
            Rows keys_rows, const Shape& shape)
      : norm(prefix + "layer_norm", shape.width, shape.epsilon),
        query(layer_of(prefix + name + ".q", prefix + name, rows)),
        key(layer_of(prefix + name + ".k", keys_input, keys_rows)),
        value(layer_of(prefix + name + ".v", keys_input, keys_rows)),
        out(layer_of(prefix + name + ".o", prefix + name + ".o", rows)) {}
  RmsNorm norm;
  Layer query, key, value, out;
};

Attention self_attention(const std::string& prefix, Rows rows, const Shape& shape) {
  return {prefix, "SelfAttention", rows, prefix + "SelfAttention", rows, shape};
}

struct Mlp {
  Mlp(const std::string& prefix, Rows rows, const Shape& shape)
      : norm(prefix + "layer_norm", shape.width, shape.epsilon),
        out(layer_of(prefix + "DenseReluDense.wo", prefix + "DenseReluDense.wo", rows)) {
    for (const char* name : shape.feed_forward.gated ? std::vector{"wi_0", "wi_1"} : std::vector{"wi"}) {
      in.push_back(layer_of(prefix + "DenseReluDense." + name, prefix + "DenseReluDense", rows));
    }
  }
  RmsNorm norm;
  std::vector<Layer> in;  // the activated one, and where it is gated the other factor
  Layer out;
};

// The names of one block, built once: a forward pass asks for them for every layer.
struct EncoderBlock {
  EncoderBlock(const std::string& prefix, const Shape& shape)
      : attention(self_attention(prefix + "layer.0.", Rows::kInput, shape)),
        mlp(prefix + "layer.1.", Rows::kInput, shape) {}
  Attention attention;
  Mlp mlp;
};

struct DecoderBlock {
  DecoderBlock(const std::string& prefix, const Shape& shape)
      : attention(self_attention(prefix + "layer.0.", Rows::kAnswer, shape)),
        to_encoder(prefix + "layer.1.", "EncDecAttention", Rows::kAnswer, kEncoded, Rows::kInput, shape),
        mlp(prefix + "layer.2.", Rows::kAnswer, shape) {}
  Attention attention, to_encoder;
  Mlp mlp;
};

// Of a stack, whose first block has it for all.
std::string bias_name(const std::string& stack) {
  return stack + ".block.0.layer.0.SelfAttention.relative_attention_bias.weight";
}

void check_rows_of_answer(const Inputs& inputs, Pooling pooling) {
  if (!inputs.answer.defined() || pooling != Pooling::kNone) {
    throw ConfigError(
        "a model of architecture t5 makes features of each row of an answer; the inputs must have "
        "answers and pooling must be none, but there are " +
        std::string(inputs.answer.defined() ? "" : "no ") + "answers and pooling is " + to_string(pooling) +
        "; use tasks of a kind whose answers are tokens");
  }
}

bool holds_rows(const Memory* memory) {
  return memory != nullptr && memory->tokens > 0;
}

class T5 final : public Architecture {
 public:
  explicit T5(const Shape& shape) : shape_(shape) {
    for (int64_t i = 0; i < shape.encoder_blocks; ++i) {
      encoder_.emplace_back("encoder.block." + std::to_string(i) + ".", shape);
    }
    for (int64_t i = 0; i < shape.decoder_blocks; ++i) {
      decoder_.emplace_back("decoder.block." + std::to_string(i) + ".", shape);
    }
  }

  std::string name() const override { return "t5"; }
  InputFormat input() const override {
    return {
        .vocabulary = shape_.vocabulary, .positions = shape_.positions, .answer_start = shape_.answer_start};
  }
  int64_t feature_size() const override { return shape_.width; }
  int64_t num_tokens() const override { return shape_.positions; }
  std::vector<TensorInfo> parameters() const override;
  std::vector<Layer> layers() const override;
  std::vector<std::string> names_in_files(const std::string& parameter) const override;
  std::optional<OwnHead> own_head() const override;
  at::Tensor features(const Weights& weights, const Inputs& inputs, Pooling pooling,
                      const Pass& pass) const override;

 private:
  // Keys or values of a layer; input: what the queries read.
  using Looked = std::function<at::Tensor(const Layer& layer, const at::Tensor& input)>;

  at::Tensor encode(const Weights& weights, const Inputs& inputs, const Pass& pass) const;
  // Token ids of the answer's rows, with the one that every answer begins with: [n, answer width + 1].
  at::Tensor rows_of_answer(const Inputs& inputs) const;
  // What is added to the scores of its rows from `first` on, which look at themselves and at those before.
  at::Tensor decoder_mask(const Weights& weights, const at::Tensor& ids, int64_t first) const;
  at::Tensor add_attention(const Weights& weights, const Attention& names, const at::Tensor& x,
                           const at::Tensor& mask, const Pass& pass, const Looked& looked) const;
  at::Tensor add_mlp(const Weights& weights, const Mlp& names, const at::Tensor& x, const Pass& pass) const;

  Shape shape_;
  std::vector<EncoderBlock> encoder_;
  std::vector<DecoderBlock> decoder_;
  PositionBias encoder_bias_{bias_name("encoder"), /*both_ways=*/true, shape_.buckets};
  PositionBias decoder_bias_{bias_name("decoder"), /*both_ways=*/false, shape_.buckets};
  RmsNorm encoder_norm_{kEncoded, shape_.width, shape_.epsilon};
  RmsNorm decoder_norm_{"decoder.final_layer_norm", shape_.width, shape_.epsilon};
};

std::vector<TensorInfo> T5::parameters() const {
  const int64_t width = shape_.width;
  ParameterList all;
  const auto add_attention = [&](const Attention& names) {
    all.add(names.norm);
    for (const Layer* layer : {&names.query, &names.key, &names.value}) {
      all.add(layer->weight, {shape_.attention_width(), width});
    }
    all.add(names.out.weight, {width, shape_.attention_width()});
  };
  const auto add_mlp = [&](const Mlp& names) {
    all.add(names.norm);
    for (const Layer& layer : names.in) {
      all.add(layer.weight, {shape_.mlp_width, width});
    }
    all.add(names.out.weight, {width, shape_.mlp_width});
  };
  all.add(kEmbeddings, {shape_.vocabulary, width});
  for (const EncoderBlock& block : encoder_) {
    add_attention(block.attention);
    add_mlp(block.mlp);
  }
  for (const DecoderBlock& block : decoder_) {
    add_attention(block.attention);
    add_attention(block.to_encoder);
    add_mlp(block.mlp);
  }
  for (const PositionBias* bias : {&encoder_bias_, &decoder_bias_}) {
    all.add(bias->weight, {shape_.buckets.count, shape_.heads});
  }
  all.add(encoder_norm_);
  all.add(decoder_norm_);
  if (!shape_.tied) {
    all.add(kHead, {shape_.vocabulary, width});
  }
  return all.sorted();
}

std::vector<Layer> T5::layers() const {
  std::vector<Layer> layers;
  const auto add_attention = [&](const Attention& names) {
    layers.insert(layers.end(), {names.query, names.key, names.value, names.out});
  };
  const auto add_mlp = [&](const Mlp& names) {
    layers.insert(layers.end(), names.in.begin(), names.in.end());
    layers.push_back(names.out);
  };
  for (const EncoderBlock& block : encoder_) {
    add_attention(block.attention);
    add_mlp(block.mlp);
  }
  for (const DecoderBlock& block : decoder_) {
    add_attention(block.attention);
    add_attention(block.to_encoder);
    add_mlp(block.mlp);
  }
  return layers;
}

// Files hold the embeddings under up to four names, of which some have not the first.
std::vector<std::string> T5::names_in_files(const std::string& parameter) const {
  std::vector<std::string> names{parameter};
  if (parameter == kEmbeddings) {
    names.insert(names.end(), {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"});
    if (shape_.tied) {
      names.emplace_back(kHead);
    }
  }
  return names;
}

std::optional<OwnHead> T5::own_head() const {
  return shape_.tied ? OwnHead{kEmbeddings, 1 / std::sqrt(static_cast<double>(shape_.width))}
                     : OwnHead{kHead};
}

at::Tensor T5::features(const Weights& weights, const Inputs& inputs, Pooling pooling,
                        const Pass& pass) const {
  check_rows_of_answer(inputs, pooling);
  Memory* memory = pass.memory;
  const bool encoded_before = holds_rows(memory);
  const at::Tensor encoded = encoded_before ? at::Tensor() : encode(weights, inputs, pass);
  const int64_t first = encoded_before ? memory->tokens : 0;
  const at::Tensor ids = rows_of_answer(inputs);
  const at::Tensor mask = decoder_mask(weights, ids, first);
  const at::Tensor encoder_mask = inputs.counting().unsqueeze(1).unsqueeze(1);
  at::Tensor x = embedded(weights.at(kEmbeddings), ids.narrow(1, first, ids.size(1) - first));
  const auto remembered = [&](const std::string& name, const at::Tensor& rows) {
    return memory == nullptr ? rows : memory->append(name, rows);
  };
  for (const DecoderBlock& block : decoder_) {
    x = add_attention(weights, block.attention, x, mask, pass,
                      [&](const Layer& layer, const at::Tensor& input) {
                        return remembered(layer.name, apply(layer, weights, input, pass));
                      });
    x = add_attention(weights, block.to_encoder, x, encoder_mask, pass,
                      [&](const Layer& layer, const at::Tensor&) {
                        return encoded_before ? memory->tensors.at(layer.name)
                                              : remembered(layer.name, apply(layer, weights, encoded, pass));
                      });
    x = add_mlp(weights, block.mlp, x, pass);
  }
  if (memory != nullptr) {
    memory->tokens = ids.size(1);
  }
  return decoder_norm_(weights, x);
}

at::Tensor T5::encode(const Weights& weights, const Inputs& inputs, const Pass& pass) const {
  const int64_t width = inputs.tokens.size(1);
  const at::Tensor mask =
      masked(encoder_bias_(weights, 0, width, width), inputs.counting().unsqueeze(1).unsqueeze(1));
  at::Tensor x = embedded(weights.at(kEmbeddings), inputs.tokens);
  for (const EncoderBlock& block : encoder_) {
    x = add_attention(
        weights, block.attention, x, mask, pass,
        [&](const Layer& layer, const at::Tensor& input) { return apply(layer, weights, input, pass); });
    x = add_mlp(weights, block.mlp, x, pass);
  }
  return encoder_norm_(weights, x);
}

at::Tensor T5::rows_of_answer(const Inputs& inputs) const {
  const at::Tensor start = at::full({inputs.answer.size(0), 1}, shape_.answer_start, inputs.answer.options());
  return concatenate({start, inputs.answer}, 1);
}

at::Tensor T5::decoder_mask(const Weights& weights, const at::Tensor& ids, int64_t first) const {
  const int64_t rows = ids.size(1);
  FUSEGRID_ASSERT(first < rows, "an answer without new tokens");
  const at::Tensor before =
      at::arange(rows, ids.options()).unsqueeze(0) <= at::arange(first, rows, ids.options()).unsqueeze(1);
  return masked(decoder_bias_(weights, first, rows - first, rows), before);
}

at::Tensor T5::add_attention(const Weights& weights, const Attention& names, const at::Tensor& x,
                             const at::Tensor& mask, const Pass& pass, const Looked& looked) const {
  const at::Tensor input = names.norm(weights, x);
  const at::Tensor query = apply(names.query, weights, input, pass);
  const at::Tensor key = looked(names.key, input);
  const at::Tensor value = looked(names.value, input);
  const at::Tensor seen = attention_of_heads(query, key, value, shape_.heads, mask, /*scale=*/1.0);
  return x + apply(names.out, weights, seen, pass);
}

at::Tensor T5::add_mlp(const Weights& weights, const Mlp& names, const at::Tensor& x,
                       const Pass& pass) const {
  const at::Tensor input = names.norm(weights, x);
  at::Tensor hidden = activate(shape_.feed_forward.activation, apply(names.in[0], weights, input, pass));
  if (shape_.feed_forward.gated) {
    hidden = hidden * apply(names.in[1], weights, input, pass);
  }
  return x + apply(names.out, weights, hidden, pass);
}

FeedForward read_feed_forward(const ConfigReader& reader) {
  std::vector<std::string> known;
  for (const FeedForward& each : kFeedForwards) {
    known.emplace_back(each.name);
  }
  const std::string name = reader.one_of("feed_forward_proj", "relu", known);
  return *std::find_if(kFeedForwards.begin(), kFeedForwards.end(),
                       [&](const FeedForward& each) { return each.name == name; });
}

Shape read_shape(const nlohmann::json& config) {
  const ConfigReader reader(config, "");
  Shape shape;
  shape.width = reader.size("d_model", 512);
  shape.heads = reader.size("num_heads", 8);
  shape.head_width = reader.size("d_kv", 64);
  shape.mlp_width = reader.size("d_ff", 2048);
  shape.encoder_blocks = reader.size("num_layers", 6);
  shape.decoder_blocks = reader.size("num_decoder_layers", shape.encoder_blocks);
  shape.vocabulary = reader.size("vocab_size", 32128);
  shape.positions = reader.size("n_positions", 512);
  shape.buckets.count = reader.size("relative_attention_num_buckets", 32);
  shape.buckets.max_distance = reader.size("relative_attention_max_distance", 128);
  shape.epsilon = reader.positive("layer_norm_epsilon", 1e-6);
  shape.feed_forward = read_feed_forward(reader);
  shape.tied = reader.flag("tie_word_embeddings", true);
  reader.require(config.contains("decoder_start_token_id"), "decoder_start_token_id", "a token id");
  shape.answer_start = reader.count("decoder_start_token_id", 0);
  reader.require(shape.answer_start < shape.vocabulary, "decoder_start_token_id", "less than vocab_size");
  reader.require(shape.buckets.count >= 4, "relative_attention_num_buckets", "4 or more");
  reader.require(shape.buckets.max_distance > shape.buckets.count / 2, "relative_attention_max_distance",
                 "more than half of relative_attention_num_buckets");
  reader.require_only("is_gated_act", shape.feed_forward.gated);
  reader.require_only("dense_act_fn", to_string(shape.feed_forward.activation));
  reader.require_only("is_encoder_decoder", true);
  reader.require_only("is_decoder", false);
  reader.require_only("tie_encoder_decoder", false);
  return shape;
}

std::unique_ptr<Architecture> make(const nlohmann::json& config) {
  return std::make_unique<T5>(read_shape(config));
}

nlohmann::json settings(const nlohmann::json& config) {
  const Shape shape = read_shape(config);
  return {{"model_type", "t5"},
          {"d_model", shape.width},
          {"num_heads", shape.heads},
          {"d_kv", shape.head_width},
          {"d_ff", shape.mlp_width},
          {"num_layers", shape.encoder_blocks},
          {"num_decoder_layers", shape.decoder_blocks},
          {"vocab_size", shape.vocabulary},
          {"relative_attention_num_buckets", shape.buckets.count},
          {"relative_attention_max_distance", shape.buckets.max_distance},
          {"layer_norm_epsilon", shape.epsilon},
          {"feed_forward_proj", shape.feed_forward.name},
          {"tie_word_embeddings", shape.tied},
          {"decoder_start_token_id", shape.answer_start}};
}

const bool registered = [] {
  architecture_registry().add("t5", {make, settings});
  return true;
}();

}  // namespace
}  // namespace fusegrid::families::t5
