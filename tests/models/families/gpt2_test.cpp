// Golden values: tests/models/decoder_test.cpp. What holds for every family: tests/models/families_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/errors.h"
#include "models/architecture.h"
#include "support/temporary_folder.h"

namespace fusegrid::gpt2_test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

json tiny() {
  return {{"model_type", "gpt2"}, {"n_embd", 8},     {"n_layer", 1},
          {"n_head", 2},          {"vocab_size", 9}, {"n_positions", 7}};
}

TEST(Gpt2, ThePublishedLayoutHasItsSize) {
  int64_t count = 0;
  for (const TensorInfo& info : make_architecture({{"model_type", "gpt2"}})->parameters()) {
    count += info.numel();
  }
  EXPECT_EQ(count, 124439808);
}

TEST(Gpt2, ALanguageModelsHeadIsItsTableOfTokens) {
  json config = tiny();
  EXPECT_EQ(make_architecture(config)->own_head()->weight, "wte.weight");
  config["architectures"] = {"GPT2ForSequenceClassification"};
  EXPECT_FALSE(make_architecture(config)->own_head());
}

TEST(Gpt2, UnsupportedConfigurationsNameFieldAndValue) {
  const std::vector<std::pair<std::string, json>> cases{{"activation_function", "tanh"},
                                                        {"add_cross_attention", true},
                                                        {"scale_attn_weights", false},
                                                        {"scale_attn_by_inverse_layer_idx", true},
                                                        {"tie_word_embeddings", false},
                                                        {"n_head", 3},
                                                        {"n_inner", 0},
                                                        {"n_positions", nullptr},
                                                        {"layer_norm_epsilon", -1}};
  for (const auto& [field, value] : cases) {
    json config = tiny();
    config[field] = value;
    EXPECT_THAT(message_of<ConfigError>([&, &changed = config] { make_architecture(changed); }),
                AllOf(HasSubstr(field), HasSubstr(value.dump())));
  }
}

}  // namespace
}  // namespace fusegrid::gpt2_test
