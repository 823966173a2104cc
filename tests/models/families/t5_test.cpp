// Golden values: tests/golden/make_t5.py (transformers). What holds for every family: tests/models/families_test.cpp.
#include <cmath>
#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/csrc/autograd/autograd.h>

#include "checkpoint/hf_folder.h"
#include "checkpoint/safetensors.h"
#include "core/concatenate.h"
#include "core/errors.h"
#include "core/role.h"
#include "models/architecture.h"
#include "models/readout.h"
#include "support/small_models.h"
#include "support/source_folder.h"
#include "support/temporary_folder.h"

namespace fusegrid::t5_test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

// With the first `width` tokens of each answer.
Inputs cut(const Inputs& inputs, int64_t width) {
  Inputs first = inputs;
  first.answer = inputs.answer.narrow(1, 0, width);
  first.answer_lengths = inputs.answer_lengths.clamp_max(width);
  return first;
}

at::Tensor features_of(const Architecture& architecture, const Weights& weights, const Inputs& inputs,
                       const Pass& pass = {}) {
  return architecture.features(weights, inputs, Pooling::kNone, pass);
}

// Features of the whole answer, made with a memory of which each pass adds so many rows as `steps` says.
at::Tensor remembered(const Architecture& architecture, const Weights& weights, const Inputs& inputs,
                      const std::vector<int64_t>& steps) {
  Memory memory;
  std::vector<at::Tensor> parts;
  int64_t rows = 0;
  for (const int64_t step : steps) {
    rows += step;
    parts.push_back(features_of(architecture, weights, cut(inputs, rows - 1), {.memory = &memory}));
    EXPECT_EQ(parts.back().size(1), step);
    EXPECT_EQ(memory.tokens, rows);
  }
  return concatenate(parts, 1);
}

class T5Golden : public testing::TestWithParam<std::string> {
 protected:
  std::filesystem::path path = source_folder() / "tests/golden/t5" / GetParam();
  HfFolder folder{path};
  SafetensorsFile expected{path / "expected.safetensors"};
  std::unique_ptr<Architecture> architecture = make_architecture(folder.config());
  Weights weights = read_parameters(*architecture, folder);
  at::Tensor wanted = expected.read("wanted");
  Inputs inputs{.images = {},
                .tokens = expected.read("tokens"),
                .lengths = expected.read("lengths"),
                .answer = wanted.narrow(1, 0, wanted.size(1) - 1),
                .answer_lengths = expected.read("wanted_lengths") - 1};

  // Zero at tokens that fill rows up, as the golden values are.
  at::Tensor counting(const at::Tensor& x, Rows rows) const { return x * inputs.counting(rows).unsqueeze(2); }
  at::Tensor logits(const at::Tensor& features) const {
    const auto readout = own_readout(*architecture->own_head(), architecture->feature_size(),
                                     architecture->input().vocabulary);
    return (*readout)(weights, features);
  }
};

TEST_P(T5Golden, HiddenStatesAndLogitsAgree) {
  const at::Tensor features = features_of(*architecture, weights, inputs);
  EXPECT_LE(max_error(counting(features, Rows::kAnswer), expected.read("hidden")), 1e-5);
  EXPECT_LE(max_error(counting(logits(features), Rows::kAnswer), expected.read("logits")), 1e-5);
}

TEST_P(T5Golden, WithAMemoryTheFeaturesAreTheSame) {
  const at::Tensor features = features_of(*architecture, weights, inputs);
  const int64_t rows = features.size(1);
  const std::vector<int64_t> by_token(static_cast<size_t>(rows), 1);
  EXPECT_LE(max_error(remembered(*architecture, weights, inputs, by_token), features), 1e-5);
  EXPECT_LE(max_error(remembered(*architecture, weights, inputs, {2, 1, rows - 3}), features), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(T5, T5Golden, testing::Values("gated_untied", "relu_tied", "long"));

class T5GoldenDetails : public T5Golden {
 protected:
  // What the model answers when it always takes the most likely token: [n, steps], 0 behind the end.
  at::Tensor greedy(int64_t steps, Memory* memory) const {
    constexpr int64_t kEnd = 1;
    Inputs asked = inputs;
    asked.answer = at::zeros({inputs.size(), 0}, at::kLong);
    asked.answer_lengths = at::zeros({inputs.size()}, at::kLong);
    at::Tensor ended = at::zeros({inputs.size(), 1}, at::kBool);
    for (int64_t step = 0; step < steps; ++step) {
      const at::Tensor features = features_of(*architecture, weights, asked, {.memory = memory});
      const at::Tensor best = logits(features.narrow(1, features.size(1) - 1, 1)).argmax(2);
      asked.answer = concatenate({asked.answer, at::where(ended, 0, best)}, 1);
      asked.answer_lengths = at::full_like(asked.answer_lengths, step + 1);
      ended = ended.logical_or(best == kEnd);
    }
    return asked.answer;
  }
};

TEST_P(T5GoldenDetails, LayersReadTheSame) {
  std::set<std::string> compared;
  const Pass pass{
      [&](const Layer& layer, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
        EXPECT_LE(max_error(counting(x, layer.rows), expected.read("tap/" + layer.name)), 1e-5) << layer.name;
        EXPECT_FALSE(bias.defined()) << layer.name;
        compared.insert("tap/" + layer.name);
        return at::linear(x, weight);
      }};
  features_of(*architecture, weights, inputs, pass);
  std::set<std::string> taps;
  for (const FileTensor& tensor : expected.tensors()) {
    if (tensor.name.starts_with("tap/")) {
      taps.insert(tensor.name);
    }
  }
  EXPECT_EQ(compared, taps);
}

TEST_P(T5GoldenDetails, LossAndGradientsOfAllParametersAgree) {
  std::vector<at::Tensor> parameters;
  for (auto& [name, tensor] : weights) {
    parameters.push_back(tensor.requires_grad_(true));
  }
  const at::Tensor log_p = at::log_softmax(logits(features_of(*architecture, weights, inputs)), 2);
  const at::Tensor of_wanted = log_p.gather(2, wanted.unsqueeze(2)).squeeze(2);
  const at::Tensor loss = -of_wanted.masked_select(inputs.counting(Rows::kAnswer)).mean();
  EXPECT_LE(max_error(loss.detach(), expected.read("loss")), 1e-5);
  const auto gradients = torch::autograd::grad({loss}, parameters);
  auto gradient = gradients.begin();
  for (const auto& [name, tensor] : weights) {
    EXPECT_LE(max_error(*gradient++, expected.read("gradient/" + name)), 1e-4) << name;
  }
}

TEST_P(T5GoldenDetails, GreedyAnswersAreThoseOfTransformers) {
  const at::Tensor answers = expected.read("greedy");
  Memory memory;
  EXPECT_TRUE(greedy(answers.size(1), nullptr).equal(answers));
  EXPECT_TRUE(greedy(answers.size(1), &memory).equal(answers));
  EXPECT_EQ(memory.tokens, answers.size(1));
}

INSTANTIATE_TEST_SUITE_P(T5, T5GoldenDetails, testing::Values("gated_untied", "relu_tied"));

json tiny() {
  return {{"model_type", "t5"}, {"d_model", 8},     {"d_kv", 3},
          {"d_ff", 12},         {"num_layers", 1},  {"num_heads", 2},
          {"vocab_size", 9},    {"n_positions", 7}, {"decoder_start_token_id", 2}};
}

class TinyT5 : public testing::Test {
 protected:
  TinyT5() {
    const Inputs answers = random_tokens({4, 2, 0}, 9);
    inputs.answer = answers.tokens;
    inputs.answer_lengths = answers.lengths;
  }
  std::unique_ptr<Architecture> architecture = make_architecture(tiny());
  Weights weights = random_weights(*architecture);
  Inputs inputs = random_tokens({3, 7, 5}, 9);
};

TEST_F(TinyT5, ARowOfAnAnswerSeesTheTokensBeforeIt) {
  const at::Tensor features = features_of(*architecture, weights, inputs);
  Inputs changed = inputs;
  changed.answer = inputs.answer.clone();
  changed.answer[0][2] = (inputs.answer[0][2] + 1) % 9;
  const at::Tensor others = features_of(*architecture, weights, changed);
  EXPECT_TRUE(others.narrow(1, 0, 3).equal(features.narrow(1, 0, 3)));
  EXPECT_GT(max_error(others[0][3], features[0][3]), 1e-3);
}

TEST_F(TinyT5, AnAnswerBeginsWithTheTokenOfItsConfiguration) {
  json config = tiny();
  config["decoder_start_token_id"] = 3;
  const auto other = make_architecture(config);
  EXPECT_EQ(architecture->input().answer_start, 2);
  EXPECT_EQ(other->input().answer_start, 3);
  EXPECT_GT(max_error(features_of(*other, weights, inputs), features_of(*architecture, weights, inputs)),
            1e-3);
}

TEST_F(TinyT5, WithAMemoryLayersReadTheNewRowsAndTheInputOnce) {
  Memory memory;
  std::vector<std::string> seen;
  const auto pass = [&](int64_t rows) {
    return Pass{
        [&, rows](const Layer& layer, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
          seen.push_back(layer.name);
          EXPECT_EQ(x.size(1), layer.rows == Rows::kInput ? inputs.tokens.size(1) : rows) << layer.name;
          return at::linear(x, weight, bias);
        },
        &memory};
  };
  std::vector<std::string> of_answer;
  for (const Layer& layer : architecture->layers()) {
    if (layer.rows == Rows::kAnswer) {
      of_answer.push_back(layer.name);
    }
  }
  features_of(*architecture, weights, cut(inputs, 1), pass(2));
  EXPECT_EQ(seen.size(), architecture->layers().size());
  seen.clear();
  features_of(*architecture, weights, cut(inputs, 2), pass(1));
  EXPECT_EQ(seen, of_answer);
}

TEST_F(TinyT5, InBfloat16TheFeaturesAreNearAndSoAreThoseWithAMemory) {
  const at::Tensor features = features_of(*architecture, weights, inputs);
  const double scale = features.abs().max().item<double>();
  for (auto& [name, tensor] : weights) {
    tensor = tensor.to(at::kBFloat16);
  }
  const at::Tensor rounded = features_of(*architecture, weights, inputs);
  EXPECT_EQ(rounded.scalar_type(), at::kBFloat16);
  EXPECT_LE(max_error(rounded, features), 0.03 * scale);
  EXPECT_LE(max_error(remembered(*architecture, weights, inputs, {1, 1, 1, 1, 1}), features), 0.03 * scale);
}

TEST_F(TinyT5, WithoutAnAnswerOrWithPoolingItIsRefused) {
  EXPECT_THAT(message_of<ConfigError>([&] {
                features_of(*architecture, weights, random_tokens({3, 7, 5}, 9));
              }),
              AllOf(HasSubstr("there are no answers"), HasSubstr("pooling is none")));
  EXPECT_THAT(message_of<ConfigError>([&] { architecture->features(weights, inputs, Pooling::kMean); }),
              AllOf(HasSubstr("there are answers"), HasSubstr("pooling is mean")));
}

TEST(T5, KeysAndValuesOfAllDecoderBlocksReadTheSameRowsOfTheInput) {
  json config = tiny();
  config["num_decoder_layers"] = 3;
  std::set<std::string> inputs;
  int64_t count = 0;
  for (const Layer& layer : make_architecture(config)->layers()) {
    if (layer.name.ends_with("EncDecAttention.k") || layer.name.ends_with("EncDecAttention.v")) {
      EXPECT_EQ(layer.rows, Rows::kInput);
      inputs.insert(layer.input);
      ++count;
    } else {
      EXPECT_EQ(layer.rows, layer.name.starts_with("decoder") ? Rows::kAnswer : Rows::kInput) << layer.name;
    }
  }
  EXPECT_EQ(count, 6);
  EXPECT_EQ(inputs.size(), 1U);
}

TEST(T5, WithoutTheirNumberTheDecoderHasAsManyBlocksAsTheEncoder) {
  json config = tiny();
  config["num_layers"] = 4;
  EXPECT_EQ(architecture_settings(config).at("num_decoder_layers"), 4);
}

TEST(T5, TheHeadIsTheEmbeddingsOrItsOwn) {
  json config = tiny();
  EXPECT_EQ(make_architecture(config)->own_head()->weight, "shared.weight");
  EXPECT_NEAR(make_architecture(config)->own_head()->scale, 1 / std::sqrt(8.0), 1e-15);
  config["tie_word_embeddings"] = false;
  EXPECT_EQ(make_architecture(config)->own_head()->weight, "lm_head.weight");
  EXPECT_EQ(make_architecture(config)->own_head()->scale, 1);
}

// A head of its own, which features() does not apply, is no layer but a matrix.
TEST(T5, RolesAreWhatTheTensorsDo) {
  json config = tiny();
  config["tie_word_embeddings"] = false;
  const auto architecture = make_architecture(config);
  std::set<std::string> matrices{"lm_head.weight"};
  for (const Layer& layer : architecture->layers()) {
    matrices.insert(layer.weight);
  }
  for (const TensorInfo& info : architecture->parameters()) {
    const bool looked_up = info.name == "shared.weight" || info.name.ends_with("attention_bias.weight");
    EXPECT_EQ(role_of(info), matrices.contains(info.name) ? Role::kMatrix
                             : looked_up                  ? Role::kEmbedding
                                                          : Role::kScale)
        << info.name;
  }
}

TEST(T5, FilesMayHoldTheEmbeddingsUnderOtherNames) {
  const auto names = [](bool tied) {
    json config = tiny();
    config["tie_word_embeddings"] = tied;
    return make_architecture(config)->names_in_files("shared.weight");
  };
  EXPECT_THAT(names(true), testing::ElementsAre("shared.weight", "encoder.embed_tokens.weight",
                                                "decoder.embed_tokens.weight", "lm_head.weight"));
  EXPECT_THAT(names(false), testing::Not(testing::Contains("lm_head.weight")));
}

int64_t num_parameters(const json& config) {
  int64_t count = 0;
  for (const TensorInfo& info : make_architecture(config)->parameters()) {
    count += info.numel();
  }
  return count;
}

TEST(T5, PublishedLayoutsHaveTheirSizes) {
  const json t5_small{{"model_type", "t5"},  {"decoder_start_token_id", 0},
                      {"n_positions", 512},  {"relative_attention_num_buckets", 32},
                      {"dropout_rate", 0.1}, {"initializer_factor", 1.0},
                      {"eos_token_id", 1},   {"pad_token_id", 0},
                      {"output_past", true}, {"is_encoder_decoder", true},
                      {"num_layers", 6},     {"vocab_size", 32128}};
  EXPECT_EQ(num_parameters(t5_small), 60506624);
  const json flan_t5_base{{"model_type", "t5"},
                          {"decoder_start_token_id", 0},
                          {"d_model", 768},
                          {"d_ff", 2048},
                          {"num_layers", 12},
                          {"num_decoder_layers", 12},
                          {"num_heads", 12},
                          {"feed_forward_proj", "gated-gelu"},
                          {"dense_act_fn", "gelu_new"},
                          {"is_gated_act", true},
                          {"tie_word_embeddings", false}};
  EXPECT_EQ(num_parameters(flan_t5_base), 247577856);
}

TEST(T5, UnsupportedConfigurationsNameFieldAndValue) {
  const std::vector<std::pair<std::string, json>> cases{{"feed_forward_proj", "gated-silu"},
                                                        {"feed_forward_proj", nullptr},
                                                        {"is_gated_act", true},
                                                        {"dense_act_fn", "silu"},
                                                        {"tie_word_embeddings", "yes"},
                                                        {"is_encoder_decoder", false},
                                                        {"is_decoder", true},
                                                        {"tie_encoder_decoder", true},
                                                        {"decoder_start_token_id", nullptr},
                                                        {"decoder_start_token_id", -1},
                                                        {"decoder_start_token_id", 9},
                                                        {"relative_attention_num_buckets", 3},
                                                        {"relative_attention_max_distance", 16},
                                                        {"num_heads", 0},
                                                        {"num_decoder_layers", 0},
                                                        {"num_layers", 0},
                                                        {"d_model", -8},
                                                        {"d_ff", "12"},
                                                        {"d_kv", 2.5},
                                                        {"n_positions", 0},
                                                        {"vocab_size", nullptr},
                                                        {"layer_norm_epsilon", 0}};
  for (const auto& [field, value] : cases) {
    json config = tiny();
    config[field] = value;
    EXPECT_THAT(message_of<ConfigError>([&, &changed = config] { make_architecture(changed); }),
                AllOf(HasSubstr(field), HasSubstr(value.dump())));
  }
  json config = tiny();
  config.erase("decoder_start_token_id");
  EXPECT_THAT(message_of<ConfigError>([&] { make_architecture(config); }),
              AllOf(HasSubstr("decoder_start_token_id"), HasSubstr("missing")));
}

}  // namespace
}  // namespace fusegrid::t5_test
