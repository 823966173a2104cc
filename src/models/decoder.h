// What causal models of tokens have in common (GPT-2, Llama): how a prompt and its answer become rows, which rows a row
// looks at, which states predict the answer, and what a memory keeps while it is made. Families add the blocks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <nlohmann/json_fwd.hpp>

#include "models/architecture.h"

namespace fusegrid {

struct DecoderShape {
  std::string name;  // of the architecture
  int64_t width = 0, blocks = 0, heads = 0, vocabulary = 0, positions = 0;
  std::optional<OwnHead> head = {};
};

// A stack of blocks x + attention(norm(x)), x + mlp(norm(x)). An answer stands right behind its own prompt, at the
// positions that follow; so a row sees what is in front of it and never what fills rows up, and prompts must have a
// token at least.
class Decoder : public BlockArchitecture {
 public:
  explicit Decoder(DecoderShape shape) : shape_(std::move(shape)) {}

  std::string name() const override { return shape_.name; }
  InputFormat input() const override {
    return {.vocabulary = shape_.vocabulary, .positions = shape_.positions, .with_answer = true};
  }
  int64_t feature_size() const override { return shape_.width; }
  int64_t num_tokens() const override { return shape_.positions; }
  std::optional<OwnHead> own_head() const override { return shape_.head; }
  // Its memory holds keys and values of all blocks.
  at::Tensor features(const Weights& weights, const Inputs& inputs, Pooling pooling,
                      const Pass& pass = {}) const override;

  int64_t size() const override { return shape_.blocks; }
  int64_t width() const override { return shape_.width; }
  bool causal() const override { return true; }
  at::Tensor embed(const Weights& weights, const Inputs& inputs) const override;
  at::Tensor mask(const Inputs& inputs) const override;  // [1, 1, rows, rows]
  at::Tensor attention(const Weights& weights, int64_t block, const at::Tensor& x, const at::Tensor& mask,
                       const Pass& pass) const override;
  at::Tensor add_mlp(const Weights&, int64_t, const at::Tensor& x, const at::Tensor& y) const override {
    return x + y;
  }
  at::Tensor finish(const Weights& weights, const at::Tensor& x, const Inputs& inputs,
                    Pooling pooling) const override;

 protected:
  // Of heads, as attention_of_heads() takes them.
  struct Projected {
    at::Tensor query, key, value;
  };
  // positions: int64 [1 or n, rows]; those behind the last one belong to what fills rows up.
  virtual at::Tensor embed_tokens(const Weights& weights, const at::Tensor& tokens,
                                  const at::Tensor& positions) const = 0;
  virtual Projected project(const Weights& weights, int64_t block, const at::Tensor& x,
                            const at::Tensor& positions, const Pass& pass) const = 0;
  // Of all heads side by side.
  virtual at::Tensor project_back(const Weights& weights, int64_t block, const at::Tensor& heads,
                                  const Pass& pass) const = 0;
  virtual at::Tensor last_norm(const Weights& weights, const at::Tensor& x) const = 0;

 private:
  at::Tensor continued(const Weights& weights, const Inputs& inputs, const Pass& pass) const;

  DecoderShape shape_;
};

// A decoder whose blocks say under which names they have their tensors. Shape: a DecoderShape with the `epsilon` of the
// norms; Block: made of the prefix of its names and the shape, with the members attention_norm, mlp_norm and `out`, the
// layer that projects heads back.
template <typename Shape, typename Block>
class NamedDecoder : public Decoder {
 public:
  at::Tensor mlp_input(const Weights& weights, int64_t block, const at::Tensor& x) const override {
    return at(block).mlp_norm(weights, x);
  }

 protected:
  // blocks: the prefix of all blocks; tokens: the table of embeddings; norm: the last one.
  NamedDecoder(const Shape& shape, const std::string& blocks, std::string tokens, const std::string& norm)
      : Decoder(shape), shape_(shape), tokens_(std::move(tokens)), norm_(norm, shape.width, shape.epsilon) {
    for (int64_t i = 0; i < shape.blocks; ++i) {
      blocks_.emplace_back(blocks + std::to_string(i) + ".", shape);
    }
  }
  at::Tensor project_back(const Weights& weights, int64_t block, const at::Tensor& heads,
                          const Pass& pass) const override {
    return apply(at(block).out, weights, heads, pass);
  }
  at::Tensor last_norm(const Weights& weights, const at::Tensor& x) const override {
    return norm_(weights, x);
  }
  const Block& at(int64_t block) const { return blocks_.at(static_cast<size_t>(block)); }

  Shape shape_;
  std::string tokens_;
  std::vector<Block> blocks_;
  decltype(Block::mlp_norm) norm_;
};

// Each answer right behind its prompt: int64 [n, width + answer width]; the tokens alone where there is none.
at::Tensor tokens_with_answer(const Inputs& inputs);
// Rows of these tokens, [n, width + answer width, ...] -> those that an answer's tokens are predicted from.
at::Tensor predicting_rows(const at::Tensor& x, const Inputs& inputs);

// An affine layer that reads an answer's rows too.
Layer decoder_layer(const std::string& name, const std::string& input);

// Whether a config.json describes a model that makes tokens: by `architectures`, or because it does not say.
bool is_language_model(const nlohmann::json& config);

}  // namespace fusegrid
