// Golden values: tests/models/decoder_test.cpp. What holds for every family: tests/models/families_test.cpp.
#include <algorithm>
#include <map>

#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/hf_folder.h"
#include "core/errors.h"
#include "models/architecture.h"
#include "support/small_models.h"
#include "support/temporary_folder.h"

namespace fusegrid::llama_test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

json tiny(const std::string& type = "llama") {
  return {{"model_type", type},       {"hidden_size", 8},
          {"intermediate_size", 12},  {"num_hidden_layers", 1},
          {"num_attention_heads", 4}, {"num_key_value_heads", 2},
          {"vocab_size", 9},          {"max_position_embeddings", 64}};
}

int64_t num_parameters(const json& config) {
  int64_t count = 0;
  for (const TensorInfo& info : make_architecture(config)->parameters()) {
    count += info.numel();
  }
  return count;
}

TEST(Llama, PublishedLayoutsHaveTheirSizes) {
  EXPECT_EQ(num_parameters({{"model_type", "llama"}}), 6738415616);     // Llama 2 7B
  EXPECT_EQ(num_parameters({{"model_type", "mistral"}}), 7241732096);   // Mistral 7B v0.1
  EXPECT_EQ(num_parameters({{"model_type", "mixtral"}}), 46702792704);  // Mixtral 8x7B v0.1
  const json qwen2_half_billion{{"model_type", "qwen2"},      {"hidden_size", 896},
                                {"intermediate_size", 4864},  {"num_hidden_layers", 24},
                                {"num_attention_heads", 14},  {"num_key_value_heads", 2},
                                {"tie_word_embeddings", true}};
  EXPECT_EQ(num_parameters(qwen2_half_billion), 494032768);
  const json llama_3_2_1b{{"model_type", "llama"},     {"hidden_size", 2048},
                          {"intermediate_size", 8192}, {"num_hidden_layers", 16},
                          {"num_attention_heads", 32}, {"num_key_value_heads", 8},
                          {"vocab_size", 128256},      {"tie_word_embeddings", true}};
  EXPECT_EQ(num_parameters(llama_3_2_1b), 1235814400);
}

TEST(Llama, TheHeadIsAParameterOfItsOwnUnlessItIsTiedOrThereIsNone) {
  const auto has_head = [](const json& config) {
    const auto parameters = make_architecture(config)->parameters();
    return std::any_of(parameters.begin(), parameters.end(),
                       [](const TensorInfo& info) { return info.name == "lm_head.weight"; });
  };
  json config = tiny();
  EXPECT_EQ(make_architecture(config)->own_head()->weight, "lm_head.weight");
  EXPECT_TRUE(has_head(config));
  config["tie_word_embeddings"] = true;
  EXPECT_EQ(make_architecture(config)->own_head()->weight, "model.embed_tokens.weight");
  EXPECT_FALSE(has_head(config));
  config["tie_word_embeddings"] = false;
  config["architectures"] = {"LlamaForSequenceClassification"};
  EXPECT_FALSE(make_architecture(config)->own_head());
  EXPECT_FALSE(has_head(config));
}

TEST(Llama, AWindowLimitsTheLengthOfRows) {
  const auto positions = [](json config, const json& more) {
    config.update(more);
    return make_architecture(config)->input().positions;
  };
  EXPECT_EQ(positions(tiny("llama"), {{"sliding_window", 8}}), 64);  // it has none
  EXPECT_EQ(positions(tiny("mistral"), {{"sliding_window", 8}}), 8);
  EXPECT_EQ(positions(tiny("mistral"), {{"sliding_window", 100}}), 64);
  EXPECT_EQ(positions(tiny("mistral"), {{"max_position_embeddings", 32768}}), 4096);
  EXPECT_EQ(positions(tiny("mistral"), {{"max_position_embeddings", 32768}, {"sliding_window", nullptr}}),
            32768);
  EXPECT_EQ(positions(tiny("mixtral"), {{"max_position_embeddings", 32768}}), 32768);
  EXPECT_EQ(positions(tiny("qwen2"), {{"sliding_window", 8}}), 64);
  EXPECT_EQ(positions(tiny("qwen2"), {{"sliding_window", 8}, {"use_sliding_window", true}}), 8);
}

TEST(Llama, NullsAreWhatTransformersMakesOfThem) {
  json config = tiny("mistral");
  const json settings = architecture_settings(config);
  config["head_dim"] = nullptr;
  config["rope_scaling"] = nullptr;
  EXPECT_EQ(architecture_settings(config), settings);
  config["num_key_value_heads"] = nullptr;
  EXPECT_EQ(architecture_settings(config)["num_key_value_heads"], 4);
}

TEST(Llama, RotationsAreReadFromEitherOfTheirPlaces) {
  json before = tiny();
  before["rope_theta"] = 500;
  before["rope_scaling"] = {{"type", "llama3"},
                            {"factor", 8},
                            {"low_freq_factor", 1},
                            {"high_freq_factor", 4},
                            {"original_max_position_embeddings", 16}};
  json now = tiny();
  now["rope_parameters"] = before["rope_scaling"];
  now["rope_parameters"]["rope_theta"] = 500;
  EXPECT_EQ(architecture_settings(now), architecture_settings(before));
  EXPECT_EQ(architecture_settings(now)["rope_theta"], 500);
  now["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 500}};
  EXPECT_EQ(architecture_settings(now)["rope_scaling"], nullptr);
}

TEST(Llama, ACheckpointWithoutAHeadHasNoPrefix) {
  json config = tiny();
  config["architectures"] = {"LlamaModel"};
  const auto architecture = make_architecture(config);
  const Weights weights = random_weights(*architecture, at::kFloat);
  Weights without_prefix;
  for (const auto& [name, tensor] : weights) {
    without_prefix.emplace(name.substr(std::string("model.").size()), tensor);
  }
  const TemporaryFolder temporary;
  save_hf_folder(temporary / "model", without_prefix, config);
  for (const auto& [name, tensor] : read_parameters(*architecture, HfFolder(temporary / "model"))) {
    EXPECT_TRUE(tensor.equal(weights.at(name))) << name;
  }
}

TEST(Llama, UnsupportedConfigurationsNameFieldAndValue) {
  const std::vector<std::pair<std::string, json>> cases{{"hidden_act", "tanh"},
                                                        {"num_attention_heads", 3},
                                                        {"num_key_value_heads", 3},
                                                        {"head_dim", 3},
                                                        {"rms_norm_eps", 0},
                                                        {"rope_theta", "high"},
                                                        {"rope_scaling", "yarn"},
                                                        {"partial_rotary_factor", 0.5},
                                                        {"attention_bias", 1},
                                                        {"mlp_bias", nullptr},
                                                        {"tie_word_embeddings", "yes"},
                                                        {"max_position_embeddings", 0}};
  for (const auto& [field, value] : cases) {
    json config = tiny();
    config[field] = value;
    EXPECT_THAT(message_of<ConfigError>([&, &changed = config] { make_architecture(changed); }),
                AllOf(HasSubstr(field), HasSubstr(value.dump())));
  }
}

TEST(Llama, UnsupportedRotationsNameFieldAndValue) {
  const json llama3{{"rope_type", "llama3"},
                    {"factor", 8},
                    {"low_freq_factor", 1},
                    {"high_freq_factor", 4},
                    {"original_max_position_embeddings", 16}};
  const std::vector<std::pair<std::string, json>> cases{
      {"rope_type", "yarn"},  {"rope_type", nullptr},    {"factor", 0},
      {"low_freq_factor", 5}, {"high_freq_factor", "4"}, {"original_max_position_embeddings", 1.5}};
  for (const auto& [field, value] : cases) {
    json config = tiny();
    config["rope_scaling"] = llama3;
    config["rope_scaling"][field] = value;
    EXPECT_THAT(message_of<ConfigError>([&, &changed = config] { make_architecture(changed); }),
                HasSubstr("rope_scaling."))
        << field;
  }
  json config = tiny();
  config["rope_scaling"] = {{"type", "linear"}, {"factor", 2}};
  EXPECT_THAT(message_of<ConfigError>([&] { make_architecture(config); }),
              AllOf(HasSubstr("rope_scaling.type"), HasSubstr("linear")));
}

TEST(Mixtral, ATokenChoosesAmongTheExperts) {
  json config = tiny("mixtral");
  config["num_experts_per_tok"] = 9;
  EXPECT_THAT(message_of<ConfigError>([&] { make_architecture(config); }),
              AllOf(HasSubstr("num_experts_per_tok"), HasSubstr("9")));
}

// Whatever the router says of two that are the same.
TEST(Mixtral, OfEqualExpertsItIsTheDenseModel) {
  json config = tiny("mixtral");
  config["num_local_experts"] = 3;
  const auto mixture = make_architecture(config);
  config["model_type"] = "mistral";
  config["rope_theta"] = 1e6;  // as Mixtral's
  config["rms_norm_eps"] = 1e-5;
  const auto dense = make_architecture(config);
  Weights weights = random_weights(*mixture);
  Weights of_dense;
  const std::map<std::string, std::string> names{{"gate_proj", "w1"}, {"up_proj", "w3"}, {"down_proj", "w2"}};
  for (const auto& [name, matrix] : names) {
    const at::Tensor& same = weights.at("model.layers.0.block_sparse_moe.experts.0." + matrix + ".weight");
    weights["model.layers.0.block_sparse_moe.experts.1." + matrix + ".weight"] = same;
    weights["model.layers.0.block_sparse_moe.experts.2." + matrix + ".weight"] = same;
    of_dense["model.layers.0.mlp." + name + ".weight"] = same;
  }
  for (const TensorInfo& info : dense->parameters()) {
    if (weights.contains(info.name)) {
      of_dense[info.name] = weights.at(info.name);
    }
  }
  const Inputs inputs = random_tokens({5, 7}, 9);
  EXPECT_LE(max_error(mixture->features(weights, inputs, Pooling::kMean),
                      dense->features(of_dense, inputs, Pooling::kMean)),
            1e-12);
}

}  // namespace
}  // namespace fusegrid::llama_test
