// Golden values: tests/golden/make_image_models.py (transformers). What holds for every family:
// tests/models/families_test.cpp.
#include <ATen/ops/linear.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/errors.h"
#include "support/golden_images.h"
#include "support/small_models.h"
#include "support/temporary_folder.h"

namespace fusegrid::vit_test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr double kRounding = 1e-11;

class VitGolden : public testing::TestWithParam<std::string> {
 protected:
  GoldenImages golden{GetParam()};
  at::Tensor features(Pooling pooling) const {
    return golden.architecture->features(golden.weights, golden.inputs, pooling);
  }
};

TEST_P(VitGolden, HiddenStatesAndTheFirstTokenAgree) {
  const at::Tensor hidden = features(Pooling::kNone);
  EXPECT_LE(max_error(hidden, GoldenImages::numbers(golden.expected.at("map"), hidden)), kRounding);
  const at::Tensor first = features(Pooling::kFirst);
  EXPECT_LE(max_error(first, GoldenImages::numbers(golden.expected.at("features"), first)), kRounding);
}

TEST_P(VitGolden, FilesHaveTheParametersUnderTheirNames) {
  golden.expect_names_of_files();
}

TEST_P(VitGolden, TheOwnHeadMakesTheLogits) {
  const auto head = golden.architecture->own_head();
  ASSERT_EQ(head.has_value(), golden.expected.contains("logits"));
  if (head) {
    const at::Tensor logits =
        at::linear(features(Pooling::kFirst), golden.weights.at(head->weight), golden.weights.at(head->bias));
    EXPECT_LE(max_error(logits, GoldenImages::numbers(golden.expected.at("logits"), logits)), kRounding);
  }
}

INSTANTIATE_TEST_SUITE_P(Vit, VitGolden, testing::Values("vit_classifier", "vit_without_biases"));

// google/vit-base-patch16-224 has 86,567,656 (its model card on the Hub), its head of 1,000 classes included.
TEST(Vit, ParametersAreCounted) {
  EXPECT_EQ(count_parameters(*make_architecture({{"model_type", "vit"}, {"num_labels", 1000}})), 86567656);
}

TEST(Vit, UnsupportedConfigurationsNameTheField) {
  const std::vector<std::pair<std::string, json>> cases{
      {"hidden_act", "tanh"}, {"num_channels", 1},   {"num_attention_heads", 5}, {"patch_size", 300},
      {"hidden_size", -8},    {"layer_norm_eps", 0}, {"qkv_bias", "yes"},        {"num_labels", -1}};
  for (const auto& [field, value] : cases) {
    json config{{"model_type", "vit"}};
    config[field] = value;
    EXPECT_THAT(message_of<ConfigError>([&, &changed = config] { make_architecture(changed); }),
                HasSubstr(field));
  }
}

}  // namespace
}  // namespace fusegrid::vit_test
