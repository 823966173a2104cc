// Golden values: tests/golden/make_bert.py (transformers). What holds for every family: tests/models/families_test.cpp.
#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/csrc/autograd/autograd.h>

#include "checkpoint/hf_folder.h"
#include "checkpoint/safetensors.h"
#include "core/errors.h"
#include "models/architecture.h"
#include "support/small_models.h"
#include "support/source_folder.h"
#include "support/temporary_folder.h"

namespace fusegrid::bert_test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

class BertGolden : public testing::TestWithParam<std::string> {
 protected:
  std::filesystem::path path = source_folder() / "tests/golden/bert" / GetParam();
  HfFolder folder{path};
  SafetensorsFile expected{path / "expected.safetensors"};
  std::unique_ptr<Architecture> architecture = make_architecture(folder.config());
  Weights weights = read_parameters(*architecture, folder);
  Inputs inputs{{}, expected.read("tokens"), expected.read("lengths")};

  void SetUp() override {
    if (expected.contains("types")) {
      inputs.types = expected.read("types");
    }
  }

  // Zero at tokens that fill rows up, as the golden values are.
  at::Tensor counting(const at::Tensor& x) const { return x * inputs.counting().unsqueeze(2); }
};

TEST_P(BertGolden, HiddenStatesAndPoolingsAgree) {
  const auto features = [&](Pooling pooling) { return architecture->features(weights, inputs, pooling); };
  EXPECT_LE(max_error(counting(features(Pooling::kNone)), expected.read("hidden")), 1e-5);
  EXPECT_LE(max_error(features(Pooling::kFirst), expected.read("pooled/first")), 1e-5);
  EXPECT_LE(max_error(features(Pooling::kLast), expected.read("pooled/last")), 1e-5);
  EXPECT_LE(max_error(features(Pooling::kMean), expected.read("pooled/mean")), 1e-5);
}

TEST_P(BertGolden, InDoublePrecisionHiddenStatesAgreeToRounding) {
  for (auto& [name, tensor] : weights) {
    tensor = tensor.to(at::kDouble);
  }
  const at::Tensor features = architecture->features(weights, inputs, Pooling::kNone);
  EXPECT_LE(max_error(counting(features), expected.read("hidden_float64")), 1e-13);
}

INSTANTIATE_TEST_SUITE_P(Bert, BertGolden,
                         testing::Values("bert", "bert_pairs", "bert_masked_lm", "roberta",
                                         "xlm_roberta_classifier"));

TEST(Bert, TypesFollowFromTheSeparatorOfAPair) {
  constexpr int64_t kSeparator = 3;
  const SafetensorsFile pairs(source_folder() / "tests/golden/bert/bert_pairs/expected.safetensors");
  const Inputs inputs{{}, pairs.read("tokens"), pairs.read("lengths")};
  EXPECT_TRUE((types_behind(inputs.tokens, kSeparator) * inputs.counting()).equal(pairs.read("types")));
}

class BertGoldenDetails : public BertGolden {};

TEST_P(BertGoldenDetails, LayersReadTheSame) {
  size_t compared = 0;
  const Pass pass{
      [&](const Layer& layer, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
        EXPECT_LE(max_error(counting(x), expected.read("tap/" + layer.name)), 1e-5) << layer.name;
        ++compared;
        return at::linear(x, weight, bias);
      }};
  architecture->features(weights, inputs, Pooling::kNone, pass);
  EXPECT_EQ(compared, 12U);
}

TEST_P(BertGoldenDetails, GradientsOfAllParametersAgree) {
  std::vector<at::Tensor> parameters;
  for (auto& [name, tensor] : weights) {
    parameters.push_back(tensor.requires_grad_(true));
  }
  const at::Tensor features = architecture->features(weights, inputs, Pooling::kNone);
  const auto gradients = torch::autograd::grad({(features * expected.read("probe")).sum()}, parameters);
  auto gradient = gradients.begin();
  for (const auto& [name, tensor] : weights) {
    EXPECT_LE(max_error(*gradient++, expected.read("gradient/" + name)), 1e-4) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Bert, BertGoldenDetails, testing::Values("bert", "roberta"));

int64_t num_parameters(const json& config) {
  int64_t count = 0;
  for (const TensorInfo& info : make_architecture(config)->parameters()) {
    count += info.numel();
  }
  return count;
}

// The published sizes are those with the pooler, which is no part of the architecture.
int64_t size_of_pooler(int64_t width) {
  return width * width + width;
}

TEST(Bert, PublishedLayoutsHaveTheirSizes) {
  const json all_minilm_l6_v2{{"architectures", {"BertModel"}},
                              {"attention_probs_dropout_prob", 0.1},
                              {"gradient_checkpointing", false},
                              {"hidden_act", "gelu"},
                              {"hidden_dropout_prob", 0.1},
                              {"hidden_size", 384},
                              {"initializer_range", 0.02},
                              {"intermediate_size", 1536},
                              {"layer_norm_eps", 1e-12},
                              {"max_position_embeddings", 512},
                              {"model_type", "bert"},
                              {"num_attention_heads", 12},
                              {"num_hidden_layers", 6},
                              {"pad_token_id", 0},
                              {"position_embedding_type", "absolute"},
                              {"type_vocab_size", 2},
                              {"use_cache", true},
                              {"vocab_size", 30522}};
  EXPECT_EQ(num_parameters(all_minilm_l6_v2) + size_of_pooler(384), 22713216);
  EXPECT_EQ(num_parameters({{"model_type", "bert"}}) + size_of_pooler(768), 109482240);  // bert-base-uncased
  const json roberta_base{
      {"model_type", "roberta"}, {"max_position_embeddings", 514}, {"type_vocab_size", 1}};
  EXPECT_EQ(num_parameters(roberta_base) + size_of_pooler(768), 124645632);
}

json tiny(const std::string& type) {
  return {{"model_type", type},          {"hidden_size", 8},         {"intermediate_size", 12},
          {"num_hidden_layers", 1},      {"num_attention_heads", 2}, {"vocab_size", 9},
          {"max_position_embeddings", 7}};
}

TEST(Bert, PositionsOfRobertaBeginAfterThatOfPadding) {
  EXPECT_EQ(make_architecture(tiny("bert"))->input().positions, 7);
  EXPECT_EQ(make_architecture(tiny("roberta"))->input().positions, 5);
  json config = tiny("camembert");
  config["pad_token_id"] = 3;
  EXPECT_EQ(make_architecture(config)->input().positions, 3);
  EXPECT_EQ(make_architecture(config)->num_tokens(), 3);
}

TEST(Bert, WithoutTokenTypesItIsTheModelWhoseTypesAreZero) {
  json config = tiny("bert");
  const auto with = make_architecture(config);
  config["type_vocab_size"] = 0;
  const auto without = make_architecture(config);
  Weights weights = random_weights(*without);
  const at::Tensor features = without->features(weights, random_tokens({3, 7}, 9), Pooling::kNone);
  EXPECT_FALSE(weights.contains("embeddings.token_type_embeddings.weight"));

  weights["embeddings.token_type_embeddings.weight"] = at::zeros({2, 8}, at::kDouble);

  EXPECT_EQ(weights.size(), with->parameters().size());
  EXPECT_TRUE(with->features(weights, random_tokens({3, 7}, 9), Pooling::kNone).equal(features));
}

TEST(Bert, OfFilesThatOthersReadHasTokenTypes) {
  json config = tiny("bert");
  config["type_vocab_size"] = 0;
  const auto without = make_architecture(config);
  const Weights weights = random_weights(*without);
  const at::Tensor features = without->features(weights, random_tokens({3, 7}, 9), Pooling::kNone);
  Weights stored = weights;
  without->complete(config, stored);
  const auto with = make_architecture(config);
  EXPECT_EQ(stored.size(), with->parameters().size());
  EXPECT_TRUE(with->features(stored, random_tokens({3, 7}, 9), Pooling::kNone).equal(features));

  Weights prefixed;
  for (const auto& [name, tensor] : weights) {
    prefixed.emplace("bert." + name, tensor);
  }
  without->complete(config, prefixed);
  EXPECT_TRUE(prefixed.contains("bert.embeddings.token_type_embeddings.weight"));
  with->complete(config, stored);
  EXPECT_EQ(stored.size(), with->parameters().size());
  EXPECT_EQ(config["type_vocab_size"], 1);
}

TEST(Bert, EveryTokenIsOfTypeZero) {
  const auto architecture = make_architecture(tiny("bert"));
  const Inputs inputs = random_tokens({3, 7}, 9);
  Weights weights = random_weights(*architecture);
  const at::Tensor features = architecture->features(weights, inputs, Pooling::kMean);
  at::Tensor& types = weights.at("embeddings.token_type_embeddings.weight");
  types[1].fill_(5);
  EXPECT_TRUE(architecture->features(weights, inputs, Pooling::kMean).equal(features));
  types[0][0].fill_(5);
  EXPECT_GT(max_error(architecture->features(weights, inputs, Pooling::kMean), features), 1e-3);
}

TEST(Bert, UnsupportedConfigurationsNameFieldAndValue) {
  const std::vector<std::pair<std::string, json>> cases{{"hidden_act", "silu"},
                                                        {"hidden_act", 3},
                                                        {"position_embedding_type", "relative_key"},
                                                        {"is_decoder", true},
                                                        {"add_cross_attention", true},
                                                        {"num_attention_heads", 3},
                                                        {"num_hidden_layers", 0},
                                                        {"hidden_size", -8},
                                                        {"intermediate_size", "12"},
                                                        {"layer_norm_eps", 0},
                                                        {"type_vocab_size", -1},
                                                        {"vocab_size", 2.5},
                                                        {"max_position_embeddings", nullptr},
                                                        {"max_position_embeddings", 2},
                                                        {"pad_token_id", -1},
                                                        {"pad_token_id", nullptr}};
  for (const auto& [field, value] : cases) {
    json config = tiny("roberta");
    config[field] = value;
    EXPECT_THAT(message_of<ConfigError>([&, &changed = config] { make_architecture(changed); }),
                AllOf(HasSubstr(field), HasSubstr(value.dump())));
  }
}

}  // namespace
}  // namespace fusegrid::bert_test
