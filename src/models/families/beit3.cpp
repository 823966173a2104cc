// BEiT-3 with the parameter names of torchscale's BEiT3: one stack of blocks reads the patches of an image and the
// tokens of a text as one sequence. Rows of the image and of the text look at each other in attention, and each sense
// has norms and feed-forward parts of its own (`A` those of images, `B` those of texts).
//
// Three kinds of task are read by one set of weights, and what rows look at says which:
//   pictures with questions   every row looks at every row; features are the sequence's
//   pictures with an answer   rows of the image look at each other, those of the text at the image and at what is in
//                             front of them; the answer stands right behind the prompt
//   pairs                     each sense looks at itself alone, and has a row of features, projected into one space
// A picture or a text alone has the features that it has in a pair.
//
// Source:  Wang et al., "Image as a Foreign Language: BEiT Pretraining for Vision and Vision-Language Tasks", CVPR
//          2023, arXiv:2208.10442; torchscale, model/BEiT3.py, and the models of unilm's beit3 for each kind of task.
// Config:  model_type beit3 beside the fields of torchscale's EncoderConfig, whose defaults hold where they are not
//          given, but for vocab_size, which beit3 sets. shared_attention, a field of ours: the projections of attention
//          and their norm are of both senses, as the paper draws them; torchscale, whose default is ours, has them for
//          each sense. Dropout is ignored: nothing here evaluates or trains with dropout.
// Differs: the heads of retrieval (vision_head, language_head, logit_scale) and of captions (mlm_head) are all in one
//          model, where beit3 has one model for each kind of task. Captions are predicted token by token, where beit3
//          asks for a token in the place of a mask. mask_token, which hides patches in pretraining, is not read.

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <nlohmann/json.hpp>

#include "core/concatenate.h"
#include "core/errors.h"
#include "models/config_reader.h"
#include "models/decoder.h"
#include "models/operators.h"

namespace fusegrid::families::beit3 {
namespace {

constexpr auto kCounting = "counting";  // of a memory: bool [n, rows], which of those that it holds count
constexpr int64_t kFirstPosition = 2;   // as fairseq counts; the rows in front of it are never read

struct Shape {
  int64_t width = 0, mlp_width = 0, blocks = 0, heads = 0, image = 0, patch = 0, vocabulary = 0,
          position_rows = 0;
  double epsilon = 0;
  Activation activation = Activation::kGelu;
  bool norms_inside = true, shared_attention = false;

  // Patches that do not fit are left out, as the convolution does.
  int64_t image_rows() const { return (image / patch) * (image / patch) + 1; }
  int64_t positions() const { return position_rows - kFirstPosition; }
};

// x [n, rows, ...], of which the first `image` are of an image and the others of a text.
struct Senses {
  int64_t image = 0, text = 0;
  at::Tensor of_image(const at::Tensor& x) const { return x.narrow(1, 0, image); }
  at::Tensor of_text(const at::Tensor& x) const { return x.narrow(1, image, text); }
};

// What each sense has one of: `change` is called for those that are there, with 0 for images and 1 for texts.
template <typename Change>
at::Tensor of_each_sense(const at::Tensor& x, const Senses& senses, const Change& change) {
  if (senses.text == 0) {
    return change(0, x);
  }
  if (senses.image == 0) {
    return change(1, x);
  }
  const at::Tensor of_image = change(0, senses.of_image(x));
  return concatenate({of_image, change(1, senses.of_text(x))}, 1);
}

Layer layer_of(const std::string& name, const std::string& input, Rows rows) {
  Layer layer(name, input);
  layer.rows = rows;
  return layer;
}

// A layer of both senses, or one of each.
struct MultiwayLayer {
  MultiwayLayer(const std::string& name, const std::string& input, bool shared) {
    if (shared) {
      ways = {layer_of(name, input, Rows::kSequence)};
    } else {
      ways = {layer_of(name + ".A", input + ".A", Rows::kInput),
              layer_of(name + ".B", input + ".B", Rows::kBoth)};
    }
  }
  at::Tensor operator()(const Weights& weights, const at::Tensor& x, const Senses& senses,
                        const Pass& pass) const {
    if (ways.size() == 1) {
      return apply(ways[0], weights, x, pass);
    }
    return of_each_sense(x, senses, [&](size_t sense, const at::Tensor& rows) {
      return apply(ways[sense], weights, rows, pass);
    });
  }
  std::vector<Layer> ways;
};

struct MultiwayNorm {
  MultiwayNorm(const std::string& name, const Shape& shape, bool shared = false) {
    for (const std::string& way :
         shared ? std::vector<std::string>{""} : std::vector<std::string>{".A", ".B"}) {
      ways.emplace_back(name + way, shape.width, shape.epsilon);
    }
  }
  at::Tensor operator()(const Weights& weights, const at::Tensor& x, const Senses& senses) const {
    if (ways.size() == 1) {
      return ways[0](weights, x);
    }
    return of_each_sense(x, senses,
                         [&](size_t sense, const at::Tensor& rows) { return ways[sense](weights, rows); });
  }
  std::vector<LayerNorm> ways;
};

struct FeedForward {
  FeedForward(const std::string& prefix, Rows rows, const Shape& shape)
      : fc1(layer_of(prefix + "fc1", prefix + "fc1", rows)),
        fc2(layer_of(prefix + "fc2", prefix + "fc2", rows)),
        norm(prefix + "ffn_layernorm", shape.mlp_width, shape.epsilon) {}
  at::Tensor operator()(const Weights& weights, const at::Tensor& x, const Shape& shape,
                        const Pass& pass) const {
    const at::Tensor hidden = activate(shape.activation, apply(fc1, weights, x, pass));
    return apply(fc2, weights, shape.norms_inside ? norm(weights, hidden) : hidden, pass);
  }
  Layer fc1, fc2;
  LayerNorm norm;
};

// The names of one block, built once: a forward pass asks for them for every layer.
struct Block {
  Block(const std::string& prefix, const Shape& shape)
      : query(prefix + "self_attn.q_proj", prefix + "self_attn", shape.shared_attention),
        key(prefix + "self_attn.k_proj", prefix + "self_attn", shape.shared_attention),
        value(prefix + "self_attn.v_proj", prefix + "self_attn", shape.shared_attention),
        out(prefix + "self_attn.out_proj", prefix + "self_attn.out_proj", shape.shared_attention),
        inner_norm(prefix + "self_attn.inner_attn_ln", shape, shape.shared_attention),
        attention_norm(prefix + "self_attn_layer_norm", shape),
        mlp_norm(prefix + "final_layer_norm", shape),
        mlps{{prefix + "ffn.A.", Rows::kInput, shape}, {prefix + "ffn.B.", Rows::kBoth, shape}} {}
  MultiwayLayer query, key, value, out;
  MultiwayNorm inner_norm, attention_norm, mlp_norm;
  std::vector<FeedForward> mlps;
};

class Beit3 final : public Architecture {
 public:
  explicit Beit3(const Shape& shape) : shape_(shape), norm_("beit3.encoder.layer_norm", shape) {
    for (int64_t i = 0; i < shape.blocks; ++i) {
      blocks_.emplace_back("beit3.encoder.layers." + std::to_string(i) + ".", shape);
    }
  }

  std::string name() const override { return "beit3"; }
  InputFormat input() const override {
    return {.image_size = shape_.image,
            .vocabulary = shape_.vocabulary,
            .positions = shape_.positions(),
            .with_answer = true,
            .together = true};
  }
  int64_t feature_size() const override { return shape_.width; }
  int64_t num_tokens() const override { return shape_.image_rows() + shape_.positions(); }
  std::optional<OwnHead> own_head() const override {
    return OwnHead{.weight = "mlm_head.weight", .bias = "mlm_head.bias"};
  }
  std::vector<TensorInfo> parameters() const override;
  std::vector<Layer> layers() const override;
  at::Tensor features(const Weights& weights, const Inputs& inputs, Pooling pooling,
                      const Pass& pass) const override;

 private:
  Senses senses_of(const Inputs& inputs) const;
  at::Tensor embed(const Weights& weights, const Inputs& inputs) const;
  // positions: of the tokens, from 0 on; those behind the last one belong to what fills rows up.
  at::Tensor embed_tokens(const Weights& weights, const at::Tensor& tokens,
                          const at::Tensor& positions) const;
  at::Tensor through_block(const Weights& weights, size_t block, const at::Tensor& x, const Senses& senses,
                           const at::Tensor& mask, const Pass& pass) const;
  // Embedded rows -> hidden states, normed.
  at::Tensor through_blocks(const Weights& weights, at::Tensor x, const Senses& senses,
                            const at::Tensor& mask, const Pass& pass) const;
  at::Tensor answered(const Weights& weights, const Inputs& inputs, const Pass& pass) const;
  at::Tensor continued(const Weights& weights, const Inputs& inputs, const Pass& pass) const;

  Shape shape_;
  std::vector<Block> blocks_;
  MultiwayNorm norm_;
  std::string class_token_ = "beit3.vision_embed.cls_token", patches_ = "beit3.vision_embed.proj",
              tokens_ = "beit3.text_embed.weight",
              image_positions_ = "beit3.encoder.embed_positions.A.weight",
              text_positions_ = "beit3.encoder.embed_positions.B.weight";
  Layer of_image_{"vision_head"};
  Layer of_text_{"language_head"};
};

std::vector<TensorInfo> Beit3::parameters() const {
  const int64_t width = shape_.width;
  ParameterList all;
  all.add("logit_scale", {});
  all.add("mlm_head.weight", {shape_.vocabulary, width});
  all.add("mlm_head.bias", {shape_.vocabulary});
  all.add(of_image_, {width, width}, false);
  all.add(of_text_, {width, width}, false);
  all.add(class_token_, {1, 1, width});
  all.add(patches_ + ".weight", {width, 3, shape_.patch, shape_.patch});
  all.add(patches_ + ".bias", {width});
  all.add(tokens_, {shape_.vocabulary, width});
  all.add(image_positions_, {shape_.image_rows() + kFirstPosition, width});
  all.add(text_positions_, {shape_.position_rows, width});
  const auto add_norm = [&](const MultiwayNorm& norm) {
    for (const LayerNorm& way : norm.ways) {
      all.add(way);
    }
  };
  for (const Block& block : blocks_) {
    add_norm(block.attention_norm);
    add_norm(block.mlp_norm);
    if (shape_.norms_inside) {
      add_norm(block.inner_norm);
    }
    for (const MultiwayLayer* layer : {&block.query, &block.key, &block.value, &block.out}) {
      for (const Layer& way : layer->ways) {
        all.add(way, {width, width});
      }
    }
    for (const FeedForward& mlp : block.mlps) {
      all.add(mlp.fc1, {shape_.mlp_width, width});
      all.add(mlp.fc2, {width, shape_.mlp_width});
      if (shape_.norms_inside) {
        all.add(mlp.norm);
      }
    }
  }
  add_norm(norm_);
  return all.sorted();
}

std::vector<Layer> Beit3::layers() const {
  std::vector<Layer> layers;
  for (const Block& block : blocks_) {
    for (const MultiwayLayer* layer : {&block.query, &block.key, &block.value, &block.out}) {
      layers.insert(layers.end(), layer->ways.begin(), layer->ways.end());
    }
    for (const FeedForward& mlp : block.mlps) {
      layers.insert(layers.end(), {mlp.fc1, mlp.fc2});
    }
  }
  layers.insert(layers.end(), {of_image_, of_text_});
  return layers;
}

Senses Beit3::senses_of(const Inputs& inputs) const {
  const int64_t answer = inputs.answer.defined() ? inputs.answer.size(1) : 0;
  return {.image = inputs.images.defined() ? shape_.image_rows() : 0,
          .text = inputs.tokens.defined() ? inputs.tokens.size(1) + answer : 0};
}

at::Tensor Beit3::embed(const Weights& weights, const Inputs& inputs) const {
  std::vector<at::Tensor> rows;
  if (inputs.images.defined()) {
    const at::Tensor& kernel = weights.at(patches_ + ".weight");
    const at::Tensor patches =
        patches_of(inputs.images.to(kernel.scalar_type()), kernel) + weights.at(patches_ + ".bias");
    const at::Tensor class_token = weights.at(class_token_).expand({patches.size(0), 1, shape_.width});
    rows.push_back(concatenate({class_token, patches}, 1) +
                   weights.at(image_positions_).narrow(0, kFirstPosition, shape_.image_rows()));
  }
  if (inputs.tokens.defined()) {
    const at::Tensor tokens = tokens_with_answer(inputs);
    rows.push_back(embed_tokens(weights, tokens, at::arange(tokens.size(1), tokens.options())));
  }
  return rows.size() == 1 ? rows[0] : concatenate(rows, 1);
}

at::Tensor Beit3::embed_tokens(const Weights& weights, const at::Tensor& tokens,
                               const at::Tensor& positions) const {
  const at::Tensor places = (positions + kFirstPosition).clamp_max(shape_.position_rows - 1);
  return embedded(weights.at(tokens_), tokens) + embedded(weights.at(text_positions_), places);
}

// bool, broadcast to [n, heads, rows, rows]: which rows a row looks at; undefined: all.
at::Tensor mask_of(const Inputs& inputs, const Senses& senses) {
  if (senses.text == 0) {
    return {};
  }
  const int64_t rows = senses.image + senses.text;
  const at::Tensor of_image = at::arange(rows, inputs.tokens.options()) < senses.image;
  if (inputs.answer.defined()) {
    // the image's rows see the image, and a row of the text all that is in front of it
    const at::Tensor in_front = at::ones({rows, rows}, of_image.options()).tril();
    return of_image.logical_or(in_front.logical_and(of_image.logical_not().unsqueeze(1)));
  }
  const at::Tensor counting = inputs.counting(Rows::kSequence, rows).unsqueeze(1).unsqueeze(1);
  return inputs.pairs ? counting.logical_and(of_image.unsqueeze(1) == of_image) : counting;
}

at::Tensor Beit3::through_block(const Weights& weights, size_t number, const at::Tensor& x,
                                const Senses& senses, const at::Tensor& mask, const Pass& pass) const {
  const Block& block = blocks_.at(number);
  const at::Tensor normed = block.attention_norm(weights, x, senses);
  const at::Tensor query = block.query(weights, normed, senses, pass);
  at::Tensor key = block.key(weights, normed, senses, pass);
  at::Tensor value = block.value(weights, normed, senses, pass);
  if (pass.memory != nullptr) {
    key = pass.memory->append("key/" + std::to_string(number), key);
    value = pass.memory->append("value/" + std::to_string(number), value);
  }
  at::Tensor heads = attention_of_heads(query, key, value, shape_.heads, mask);
  if (shape_.norms_inside) {
    heads = block.inner_norm(weights, heads, senses);
  }
  const at::Tensor attended = x + block.out(weights, heads, senses, pass);
  return attended + of_each_sense(block.mlp_norm(weights, attended, senses), senses,
                                  [&](size_t sense, const at::Tensor& rows) {
                                    return block.mlps[sense](weights, rows, shape_, pass);
                                  });
}

at::Tensor Beit3::through_blocks(const Weights& weights, at::Tensor x, const Senses& senses,
                                 const at::Tensor& mask, const Pass& pass) const {
  for (size_t block = 0; block < blocks_.size(); ++block) {
    x = through_block(weights, block, x, senses, mask, pass);
  }
  return norm_(weights, x, senses);
}

// A memory holds keys and values of all rows of the image, the prompt and the answer.
at::Tensor Beit3::answered(const Weights& weights, const Inputs& inputs, const Pass& pass) const {
  if (pass.memory != nullptr && pass.memory->tokens > 0) {
    return continued(weights, inputs, pass);
  }
  const Senses senses = senses_of(inputs);
  const at::Tensor x = through_blocks(weights, embed(weights, inputs), senses, mask_of(inputs, senses), pass);
  if (pass.memory != nullptr) {
    pass.memory->tensors[kCounting] = inputs.counting(Rows::kSequence, x.size(1));
    pass.memory->tokens = inputs.answer.size(1) + 1;
  }
  return predicting_rows(senses.of_text(x), inputs);
}

// The features of the rows that the memory does not hold yet: row j reads the answer's token j - 1.
at::Tensor Beit3::continued(const Weights& weights, const Inputs& inputs, const Pass& pass) const {
  Memory& memory = *pass.memory;
  const int64_t begin = memory.tokens - 1, count = inputs.answer.size(1) - begin;
  FUSEGRID_ASSERT(count >= 0, "an answer that did not grow");
  const at::Tensor tokens = inputs.answer.narrow(1, begin, count);
  const at::Tensor places = at::arange(begin, begin + count, tokens.options()).unsqueeze(0);
  const at::Tensor held = memory.tensors.at(kCounting).unsqueeze(1).unsqueeze(1).expand({-1, -1, count, -1});
  const at::Tensor in_front = at::ones({1, 1, count, count}, held.options()).tril();
  memory.append(kCounting, places < inputs.answer_lengths.unsqueeze(1));
  memory.tokens = inputs.answer.size(1) + 1;
  return through_blocks(weights, embed_tokens(weights, tokens, inputs.lengths.unsqueeze(1) + places),
                        {.text = count},
                        concatenate({held, in_front.expand({tokens.size(0), -1, -1, -1})}, 3), pass);
}

at::Tensor Beit3::features(const Weights& weights, const Inputs& inputs, Pooling pooling,
                           const Pass& pass) const {
  FUSEGRID_ASSERT(!inputs.answer.defined() || pooling == Pooling::kNone, "pooled rows of an answer");
  if (inputs.answer.defined()) {
    return answered(weights, inputs, pass);
  }
  const Senses senses = senses_of(inputs);
  const at::Tensor x =
      through_blocks(weights, embed(weights, inputs), senses, mask_of(inputs, senses), {pass.layer});
  const bool is_pair = senses.image > 0 && senses.text > 0 && inputs.pairs;
  if (senses.image > 0 && senses.text > 0 && !is_pair) {
    return pooled(x, inputs.lengths + senses.image, pooling);
  }
  const auto of_image = [&] {
    return apply(of_image_, weights, pooled(senses.of_image(x), {}, pooling), pass);
  };
  const auto of_text = [&] {
    return apply(of_text_, weights, pooled(senses.of_text(x), inputs.lengths, pooling), pass);
  };
  if (!is_pair) {
    return senses.image > 0 ? of_image() : of_text();
  }
  if (pooling == Pooling::kNone) {
    throw ConfigError("beit3: of a picture with its text there are no features without pooling");
  }
  const at::Tensor first = of_image();
  return at::stack({first, of_text()}, 1);
}

// ---- config.json

Shape read_shape(const nlohmann::json& config) {
  const ConfigReader reader(config, "");
  Shape shape;
  shape.width = reader.size("encoder_embed_dim", 768);
  shape.mlp_width = reader.size("encoder_ffn_embed_dim", 3072);
  shape.blocks = reader.size("encoder_layers", 12);
  shape.heads = reader.size("encoder_attention_heads", 12);
  shape.image = reader.size("img_size", 224);
  shape.patch = reader.size("patch_size", 16);
  shape.vocabulary = reader.size("vocab_size", 64010);
  shape.position_rows = reader.size("max_source_positions", 1024);
  shape.epsilon = reader.positive("layernorm_eps", 1e-5);
  shape.activation = reader.activation("activation_fn", "gelu", {"gelu", "relu"});
  shape.norms_inside = reader.flag("subln", true);
  shape.shared_attention = reader.flag("shared_attention", false);
  reader.require_only("in_chans", 3);
  reader.require_only("multiway", true);
  reader.require_only("encoder_normalize_before", true);
  reader.require_only("normalize_output", true);
  reader.require_only("no_scale_embedding", true);
  reader.require_only("layernorm_embedding", false);
  reader.require_only("deepnorm", false);
  reader.require_only("rel_pos_buckets", 0);
  reader.require_only("xpos_rel_pos", false);
  reader.require(shape.width % shape.heads == 0, "encoder_attention_heads", "a divisor of encoder_embed_dim");
  reader.require(shape.patch <= shape.image, "patch_size", "at most img_size");
  reader.require(shape.position_rows > kFirstPosition, "max_source_positions",
                 "above " + std::to_string(kFirstPosition) + ", the rows that are never read");
  return shape;
}

std::unique_ptr<Architecture> make(const nlohmann::json& config) {
  return std::make_unique<Beit3>(read_shape(config));
}

nlohmann::json settings(const nlohmann::json& config) {
  const Shape shape = read_shape(config);
  return {{"model_type", "beit3"},
          {"encoder_embed_dim", shape.width},
          {"encoder_ffn_embed_dim", shape.mlp_width},
          {"encoder_layers", shape.blocks},
          {"encoder_attention_heads", shape.heads},
          {"img_size", shape.image},
          {"patch_size", shape.patch},
          {"vocab_size", shape.vocabulary},
          {"max_source_positions", shape.position_rows},
          {"layernorm_eps", shape.epsilon},
          {"activation_fn", to_string(shape.activation)},
          {"subln", shape.norms_inside},
          {"shared_attention", shape.shared_attention}};
}

const bool registered = [] {
  architecture_registry().add("beit3", {make, settings});
  return true;
}();

}  // namespace
}  // namespace fusegrid::families::beit3
