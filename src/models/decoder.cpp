#include "models/decoder.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros_like.h>
#include <nlohmann/json.hpp>

#include "core/concatenate.h"
#include "core/errors.h"
#include "models/operators.h"

namespace fusegrid {
namespace {

// Of a memory.
constexpr auto kPositions = "positions";  // int64 [n, rows]: of the rows of this pass
constexpr auto kCounting = "counting";    // bool [n, rows]: which of the rows that it holds count

std::string key_of(int64_t block) {
  return "key/" + std::to_string(block);
}

std::string value_of(int64_t block) {
  return "value/" + std::to_string(block);
}

// int64 [1, count]
at::Tensor numbers(int64_t begin, int64_t count, const at::Tensor& like) {
  return at::arange(begin, begin + count, like.options().dtype(at::kLong)).unsqueeze(0);
}

// bool [1, 1, rows, rows]: each row looks at itself and those in front of it.
at::Tensor causal_mask(int64_t rows, const at::Tensor& like) {
  return at::ones({1, 1, rows, rows}, like.options().dtype(at::kBool)).tril();
}

}  // namespace

at::Tensor tokens_with_answer(const Inputs& inputs) {
  if (!inputs.answer.defined()) {
    return inputs.tokens;
  }
  const at::Tensor behind = inputs.lengths.unsqueeze(1) + numbers(0, inputs.answer.size(1), inputs.answer);
  return concatenate({inputs.tokens, at::zeros_like(inputs.answer)}, 1).scatter(1, behind, inputs.answer);
}

at::Tensor predicting_rows(const at::Tensor& x, const Inputs& inputs) {
  const at::Tensor rows =
      inputs.lengths.unsqueeze(1) - 1 + numbers(0, inputs.answer.size(1) + 1, inputs.answer);
  return x.gather(1, rows.unsqueeze(2).expand({-1, -1, x.size(2)}));
}

at::Tensor Decoder::features(const Weights& weights, const Inputs& inputs, Pooling pooling,
                             const Pass& pass) const {
  FUSEGRID_ASSERT(!inputs.answer.defined() || pooling == Pooling::kNone, "pooled rows of an answer");
  if (!inputs.answer.defined() || pass.memory == nullptr) {
    return BlockArchitecture::features(weights, inputs, pooling, {pass.layer});
  }
  Memory& memory = *pass.memory;
  FUSEGRID_ASSERT(memory.tokens <= inputs.answer.size(1), "an answer that did not grow");
  at::Tensor x;
  if (memory.tokens == 0) {
    const at::Tensor tokens = tokens_with_answer(inputs);
    memory.tensors[kPositions] = numbers(0, tokens.size(1), tokens).expand_as(tokens);
    memory.tensors[kCounting] = inputs.counting(Rows::kBoth);
    x = BlockArchitecture::features(weights, inputs, pooling, pass);
  } else {
    x = continued(weights, inputs, pass);
  }
  memory.tokens = inputs.answer.size(1) + 1;
  return x;
}

// The features of the rows that the memory does not hold yet: row j reads the answer's token j - 1.
at::Tensor Decoder::continued(const Weights& weights, const Inputs& inputs, const Pass& pass) const {
  Memory& memory = *pass.memory;
  const int64_t begin = memory.tokens - 1;
  const int64_t count = inputs.answer.size(1) - begin;
  const at::Tensor tokens = inputs.answer.narrow(1, begin, count);
  const at::Tensor places = numbers(begin, count, tokens);
  const at::Tensor positions = inputs.lengths.unsqueeze(1) + places;
  const at::Tensor held = memory.tensors.at(kCounting).unsqueeze(1).unsqueeze(1);
  const at::Tensor looks = concatenate(
      {held.expand({-1, -1, count, -1}), causal_mask(count, tokens).expand({tokens.size(0), -1, -1, -1})}, 3);
  memory.append(kCounting, places < inputs.answer_lengths.unsqueeze(1));
  memory.tensors[kPositions] = positions;
  const at::Tensor x = through_blocks(weights, embed_tokens(weights, tokens, positions), looks, pass);
  return last_norm(weights, x);
}

at::Tensor Decoder::embed(const Weights& weights, const Inputs& inputs) const {
  const at::Tensor tokens = tokens_with_answer(inputs);
  return embed_tokens(weights, tokens, numbers(0, tokens.size(1), tokens));
}

at::Tensor Decoder::mask(const Inputs& inputs) const {
  const int64_t answer = inputs.answer.defined() ? inputs.answer.size(1) : 0;
  return causal_mask(inputs.tokens.size(1) + answer, inputs.tokens);
}

at::Tensor Decoder::attention(const Weights& weights, int64_t block, const at::Tensor& x,
                              const at::Tensor& mask, const Pass& pass) const {
  const at::Tensor positions =
      pass.memory == nullptr ? numbers(0, x.size(1), mask) : pass.memory->tensors.at(kPositions);
  auto [query, key, value] = project(weights, block, x, positions, pass);
  if (pass.memory != nullptr) {
    key = pass.memory->append(key_of(block), key);
    value = pass.memory->append(value_of(block), value);
  }
  const at::Tensor heads = attention_of_heads(query, key, value, shape_.heads, mask);
  return x + project_back(weights, block, heads, pass);
}

at::Tensor Decoder::finish(const Weights& weights, const at::Tensor& x, const Inputs& inputs,
                           Pooling pooling) const {
  if (inputs.answer.defined()) {
    return last_norm(weights, predicting_rows(x, inputs));
  }
  return pooled(last_norm(weights, x), inputs.lengths, pooling);
}

Layer decoder_layer(const std::string& name, const std::string& input) {
  Layer layer(name, input);
  layer.rows = Rows::kBoth;
  return layer;
}

bool is_language_model(const nlohmann::json& config) {
  const auto named = config.find("architectures");
  if (named == config.end() || !named->is_array() || named->empty()) {
    return true;
  }
  return std::any_of(named->begin(), named->end(), [](const nlohmann::json& name) {
    const std::string text = name.is_string() ? name.get<std::string>() : "";
    return text.ends_with("LMHeadModel") || text.ends_with("ForCausalLM");
  });
}

}  // namespace fusegrid
