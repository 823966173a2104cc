// What config.json says of single layers, in stacks.
#include "checkpoint/stacked_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::HasSubstr;

constexpr int64_t kStackedLayers = 6;

// The configuration of layers [begin, end) and so on of one model.
nlohmann::json stacked(const nlohmann::json& config, const std::vector<std::pair<int64_t, int64_t>>& ranges) {
  std::vector<StackedLayer> stack;
  for (const auto& [begin, end] : ranges) {
    for (int64_t layer = begin; layer < end; ++layer) {
      stack.push_back({"m", &config, kStackedLayers, layer});
    }
  }
  nlohmann::json result = config;
  restack_config(result, stack);
  return result;
}

std::string refusal(const nlohmann::json& config, const std::vector<std::pair<int64_t, int64_t>>& ranges) {
  return message_of<ConfigError>([&] { stacked(config, ranges); });
}

TEST(StackedConfig, numbers_of_layers_go_with_them) {
  for (const std::string key :
       {"mlp_only_layers", "cross_attention_layers", "hybrid_layer_ids", "attn_layer_indices"}) {
    const nlohmann::json config{{key, {1, 4}}};
    EXPECT_EQ(stacked(config, {{0, 4}, {1, 6}}).at(key), (nlohmann::json{1, 4, 7})) << key;
    EXPECT_EQ(stacked(config, {{2, 4}}).at(key), nlohmann::json::array()) << key;
  }
}

TEST(StackedConfig, entries_of_layers_go_with_them) {
  const nlohmann::json config{{"layer_types", {"a", "b", "c", "d", "e", "f"}},
                              {"no_rope_layers", {1, 1, 1, 0, 1, 1}},
                              {"hybrid_override_pattern", "M-M*M-"},
                              {"eos_token_id", {1, 2, 3, 4, 5, 6}}};
  const nlohmann::json result = stacked(config, {{0, 2}, {3, 5}});
  EXPECT_EQ(result.at("layer_types"), (nlohmann::json{"a", "b", "d", "e"}));
  EXPECT_EQ(result.at("no_rope_layers"), (nlohmann::json{1, 1, 0, 1}));
  EXPECT_EQ(result.at("hybrid_override_pattern"), "M-*M");
  EXPECT_EQ(result.at("eos_token_id"), config.at("eos_token_id"));
}

TEST(StackedConfig, rules_must_choose_the_same_layers) {
  const std::vector<std::pair<std::string, int64_t>> rules{
      {"first_k_dense_replace", 3},  {"decoder_sparse_step", 2},     {"moe_layer_freq", 2},
      {"attn_layer_period", 2},      {"num_kv_shared_layers", 4},    {"interleave_moe_layer_step", 2},
      {"sliding_window_pattern", 2}, {"somebodys_layer_interval", 2}};
  for (const auto& [key, value] : rules) {
    EXPECT_THAT(refusal({{key, value}}, {{0, 4}, {1, 6}}), HasSubstr("'" + key + "'"));
    EXPECT_NO_THROW(stacked({{key, value}}, {{0, 6}})) << "the whole model";
  }
  EXPECT_NO_THROW(stacked({{"first_k_dense_replace", 1}}, {{0, 4}, {2, 6}}));
  EXPECT_NO_THROW(stacked({{"decoder_sparse_step", 1}, {"num_kv_shared_layers", 0}}, {{0, 4}, {1, 6}}));
  EXPECT_NO_THROW(stacked({{"decoder_sparse_step", 2}}, {{0, 4}, {2, 6}}));
  EXPECT_NO_THROW(stacked({{"max_window_layers", 3}, {"use_sliding_window", false}}, {{0, 4}, {1, 6}}));
  // layer_types says the same, layer by layer
  EXPECT_NO_THROW(stacked({{"sliding_window_pattern", 3}, {"layer_types", {"a", "a", "b", "a", "a", "b"}}},
                          {{0, 4}, {1, 6}}));
}

TEST(StackedConfig, other_words_on_single_layers_are_refused) {
  const std::vector<std::pair<std::string, nlohmann::json>> unknown{{"special_layers", {2, 3}},
                                                                    {"moe_layers_enum", "3,4,5"},
                                                                    {"pruned_heads", {{"2", {0}}}},
                                                                    {"layer_scales", {{"1", 2}}}};
  for (const auto& [key, value] : unknown) {
    EXPECT_THAT(refusal({{key, value}}, {{0, 4}, {1, 6}}), HasSubstr("'" + key + "'"));
  }
  const nlohmann::json harmless{{"layer_norm_eps", 1e-5},
                                {"num_hidden_layers", 6},
                                {"pruned_heads", nlohmann::json::object()},
                                {"mlp_only_layers", nullptr},
                                {"layerdrop", 0}};
  EXPECT_EQ(stacked(harmless, {{0, 4}, {1, 6}}), harmless);
}

}  // namespace
}  // namespace fusegrid
