// The encoders of BERT and RoBERTa with the parameter names of HuggingFace's BertModel and RobertaModel: blocks of
// attention and an MLP, layer norms after the sums. Without a pooler or a head: a readout takes its place.
//
// Source:  Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", NAACL
//          2019, arXiv:1810.04805; Liu et al., "RoBERTa: A Robustly Optimized BERT Pretraining Approach",
//          arXiv:1907.11692.
// Differs: every token is of type 0, unless the pack says what separates the texts of a pair (docs/packs.md). The n-th
//          token of a row is at the n-th position of the table (RoBERTa: after the pad_token_id + 1 that stand for
//          padding); HuggingFace's RoBERTa gives a token with the id of padding none, wherever in its row it is.
// Config:  model_type bert; or roberta, xlm-roberta or camembert, which are one architecture. Fields that are not given
//          have HuggingFace's defaults. type_vocab_size 0: there are no embeddings of token types. Dropout fields are
//          ignored: nothing here evaluates or trains with dropout.

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <nlohmann/json.hpp>

#include "core/errors.h"
#include "models/config_reader.h"
#include "models/encoder_groups.h"
#include "models/operators.h"

namespace fusegrid::families::bert {
namespace {

struct Shape {
  bool roberta = false;
  int64_t width = 0, mlp_width = 0, blocks = 0, heads = 0, vocabulary = 0, types = 0;
  int64_t position_rows = 0, first_position = 0;
  double epsilon = 0;
  Activation activation = Activation::kGelu;

  int64_t positions() const { return position_rows - first_position; }
};

// The names of one block, built once: a forward pass asks for them for every layer.
struct Block {
  Block(const std::string& prefix, const Shape& shape)
      : query(prefix + "attention.self.query", prefix + "attention.self"),
        key(prefix + "attention.self.key", prefix + "attention.self"),
        value(prefix + "attention.self.value", prefix + "attention.self"),
        out(prefix + "attention.output.dense"),
        fc1(prefix + "intermediate.dense"),
        fc2(prefix + "output.dense"),
        attention_norm(prefix + "attention.output.LayerNorm", shape.width, shape.epsilon),
        mlp_norm(prefix + "output.LayerNorm", shape.width, shape.epsilon) {}
  Layer query, key, value, out, fc1, fc2;
  LayerNorm attention_norm, mlp_norm;
};

class Bert final : public BlockArchitecture {
 public:
  explicit Bert(const Shape& shape) : shape_(shape) {
    for (int64_t i = 0; i < shape.blocks; ++i) {
      blocks_.emplace_back("encoder.layer." + std::to_string(i) + ".", shape);
    }
  }

  std::string name() const override { return shape_.roberta ? "roberta" : "bert"; }
  InputFormat input() const override {
    return {.vocabulary = shape_.vocabulary, .positions = shape_.positions()};
  }
  int64_t feature_size() const override { return shape_.width; }
  int64_t num_tokens() const override { return shape_.positions(); }
  std::vector<TensorInfo> parameters() const override;
  std::vector<Layer> layers() const override;
  std::vector<AxisGroup> axis_groups() const override;
  std::vector<std::string> names_in_files(const std::string& parameter) const override;
  void complete(nlohmann::json& config, Weights& stored) const override;

  int64_t size() const override { return shape_.blocks; }
  int64_t width() const override { return shape_.width; }
  std::vector<Layer> mlp_layers(int64_t block) const override { return {at(block).fc1, at(block).fc2}; }
  at::Tensor embed(const Weights& weights, const Inputs& inputs) const override;
  // [n, 1, 1, width]: every token looks at all that count.
  at::Tensor mask(const Inputs& inputs) const override { return inputs.counting().unsqueeze(1).unsqueeze(1); }
  at::Tensor attention(const Weights& weights, int64_t block, const at::Tensor& x, const at::Tensor& mask,
                       const Pass& pass) const override;
  at::Tensor mlp_input(const Weights&, int64_t, const at::Tensor& x) const override { return x; }
  at::Tensor mlp(const Weights& weights, int64_t block, const at::Tensor& input,
                 const Pass& pass) const override {
    const Block& names = at(block);
    const at::Tensor hidden = activate(shape_.activation, apply(names.fc1, weights, input, pass));
    show(pass, names.fc1.name, hidden);
    return apply(names.fc2, weights, hidden, pass);
  }
  at::Tensor add_mlp(const Weights& weights, int64_t block, const at::Tensor& x,
                     const at::Tensor& y) const override {
    return at(block).mlp_norm(weights, x + y);
  }
  at::Tensor finish(const Weights&, const at::Tensor& x, const Inputs& inputs,
                    Pooling pooling) const override {
    return pooled(x, inputs.lengths, pooling);
  }

 private:
  std::string residual_stream() const override { return kResidualStream; }
  const Block& at(int64_t block) const { return blocks_.at(static_cast<size_t>(block)); }

  Shape shape_;
  std::vector<Block> blocks_;
  std::string words_ = "embeddings.word_embeddings.weight";
  std::string types_ = "embeddings.token_type_embeddings.weight";
  std::string positions_ = "embeddings.position_embeddings.weight";
  LayerNorm norm_{"embeddings.LayerNorm", shape_.width, shape_.epsilon};
};

std::vector<TensorInfo> Bert::parameters() const {
  const int64_t width = shape_.width;
  ParameterList all;
  all.add(words_, {shape_.vocabulary, width});
  all.add(positions_, {shape_.position_rows, width});
  if (shape_.types > 0) {
    all.add(types_, {shape_.types, width});
  }
  all.add(norm_);
  for (const Block& block : blocks_) {
    for (const Layer* layer : {&block.query, &block.key, &block.value, &block.out}) {
      all.add(*layer, {width, width});
    }
    all.add(block.attention_norm);
    all.add(block.fc1, {shape_.mlp_width, width});
    all.add(block.fc2, {width, shape_.mlp_width});
    all.add(block.mlp_norm);
  }
  return all.sorted();
}

std::vector<Layer> Bert::layers() const {
  std::vector<Layer> layers;
  for (const Block& block : blocks_) {
    layers.insert(layers.end(), {block.query, block.key, block.value, block.out, block.fc1, block.fc2});
  }
  return layers;
}

std::vector<AxisGroup> Bert::axis_groups() const {
  std::vector<EncoderBlock> blocks;
  for (const Block& block : blocks_) {
    blocks.push_back({block.query,
                      block.key,
                      block.value,
                      block.out,
                      block.fc1,
                      block.fc2,
                      {block.attention_norm, block.mlp_norm}});
  }
  std::vector<AxisGroup::Axis> embeddings{{words_, 1, true}, {positions_, 1, true}};
  if (shape_.types > 0) {
    embeddings.push_back({types_, 1, true});
  }
  return encoder_groups(blocks, {shape_.width, shape_.mlp_width, shape_.heads}, embeddings, {norm_});
}

// With the prefix of models with a head, and with the names that norms had in the first checkpoints of BERT.
std::vector<std::string> Bert::names_in_files(const std::string& parameter) const {
  std::vector<std::string> names{parameter};
  for (const auto& [now, then] :
       {std::pair("LayerNorm.weight", "LayerNorm.gamma"), std::pair("LayerNorm.bias", "LayerNorm.beta")}) {
    if (parameter.ends_with(now)) {
      names.push_back(parameter.substr(0, parameter.size() - std::string(now).size()) + then);
    }
  }
  const std::vector<std::string> plain = names;
  for (const std::string& each : plain) {
    names.push_back((shape_.roberta ? "roberta." : "bert.") + each);
  }
  return names;
}

// Embeddings of one type, zeros, under the prefix of the others.
void Bert::complete(nlohmann::json& config, Weights& stored) const {
  const auto words = std::find_if(stored.begin(), stored.end(),
                                  [&](const auto& entry) { return entry.first.ends_with(words_); });
  FUSEGRID_ASSERT(words != stored.end(), words_);
  const auto prefix = words->first.substr(0, words->first.size() - words_.size());
  if (shape_.types == 0) {
    config["type_vocab_size"] = 1;
    stored[prefix + types_] = at::zeros({1, shape_.width}, words->second.options());
  }
}

at::Tensor Bert::embed(const Weights& weights, const Inputs& inputs) const {
  at::Tensor x = embedded(weights.at(words_), inputs.tokens);
  if (shape_.types > 0) {
    const at::Tensor& types = weights.at(types_);
    x = x + (shape_.types > 1 && inputs.types.defined() ? embedded(types, inputs.types) : types.select(0, 0));
  }
  x = x + weights.at(positions_).narrow(0, shape_.first_position, inputs.tokens.size(1));
  return norm_(weights, x);
}

at::Tensor Bert::attention(const Weights& weights, int64_t block, const at::Tensor& x, const at::Tensor& mask,
                           const Pass& pass) const {
  const Block& names = at(block);
  const at::Tensor query = apply(names.query, weights, x, pass);
  const at::Tensor key = apply(names.key, weights, x, pass);
  const at::Tensor value = apply(names.value, weights, x, pass);
  const at::Tensor heads = attention_of_heads(query, key, value, shape_.heads, mask);
  show(pass, names.query.input, heads);
  return names.attention_norm(weights, x + apply(names.out, weights, heads, pass));
}

Shape read_shape(const nlohmann::json& config) {
  const ConfigReader reader(config, "");
  const std::string type = config.value("model_type", "");
  Shape shape;
  shape.roberta = type != "bert";
  shape.width = reader.size("hidden_size", 768);
  shape.mlp_width = reader.size("intermediate_size", 3072);
  shape.blocks = reader.size("num_hidden_layers", 12);
  shape.heads = reader.size("num_attention_heads", 12);
  shape.vocabulary = reader.size("vocab_size", type == "roberta" ? 50265 : 30522);
  shape.types = reader.count("type_vocab_size", 2);
  shape.position_rows = reader.size("max_position_embeddings", 512);
  shape.first_position = shape.roberta ? reader.count("pad_token_id", 1) + 1 : 0;
  shape.epsilon = reader.positive("layer_norm_eps", 1e-12);
  shape.activation =
      reader.activation("hidden_act", "gelu", {"gelu", "gelu_new", "gelu_pytorch_tanh", "relu"});
  reader.require_only("position_embedding_type", "absolute");
  reader.require_only("is_decoder", false);
  reader.require_only("add_cross_attention", false);
  reader.require(shape.width % shape.heads == 0, "num_attention_heads", "a divisor of hidden_size");
  reader.require(shape.positions() > 0, "max_position_embeddings", "more than pad_token_id + 1");
  return shape;
}

std::unique_ptr<Architecture> make(const nlohmann::json& config) {
  return std::make_unique<Bert>(read_shape(config));
}

nlohmann::json settings(const nlohmann::json& config) {
  const Shape shape = read_shape(config);
  nlohmann::json all{{"model_type", shape.roberta ? "roberta" : "bert"},
                     {"hidden_size", shape.width},
                     {"intermediate_size", shape.mlp_width},
                     {"num_hidden_layers", shape.blocks},
                     {"num_attention_heads", shape.heads},
                     {"vocab_size", shape.vocabulary},
                     {"type_vocab_size", shape.types},
                     {"max_position_embeddings", shape.position_rows},
                     {"layer_norm_eps", shape.epsilon},
                     {"hidden_act", to_string(shape.activation)}};
  if (shape.roberta) {
    all["pad_token_id"] = shape.first_position - 1;
  }
  return all;
}

const bool registered = [] {
  for (const char* type : {"bert", "roberta", "xlm-roberta", "camembert"}) {
    architecture_registry().add(type, {make, settings});
  }
  return true;
}();

}  // namespace
}  // namespace fusegrid::families::bert
