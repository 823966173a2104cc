// What holds for every family: tests/models/families_test.cpp.
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/errors.h"
#include "models/architecture.h"
#include "support/small_models.h"
#include "support/temporary_folder.h"

namespace fusegrid::mlp_test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

json two_layers(const std::string& activation) {
  return {{"model_type", "mlp"}, {"image_size", 1}, {"hidden_sizes", {2, 1}}, {"hidden_act", activation}};
}

// Of the pixel (r, g, b) the first layer makes (r - g, b - 1), the second twice the one plus three times the other.
Weights by_hand() {
  return {{"layers.0.weight", at::tensor({1.0F, -1.0F, 0.0F, 0.0F, 0.0F, 1.0F}).view({2, 3})},
          {"layers.0.bias", at::tensor({0.0F, -1.0F})},
          {"layers.1.weight", at::tensor({2.0F, 3.0F}).view({1, 2})},
          {"layers.1.bias", at::tensor({0.5F})}};
}

Inputs pixel(float red, float green, float blue) {
  Inputs inputs;
  inputs.images = at::tensor({red, green, blue}).view({1, 3, 1, 1});
  return inputs;
}

double feature(const std::string& activation, const Inputs& inputs) {
  return make_architecture(two_layers(activation))
      ->features(by_hand(), inputs, Pooling::kFirst, {})
      .item<double>();
}

TEST(Mlp, AgreesWithAHandComputation) {
  EXPECT_EQ(feature("relu", pixel(4, 1, 3)), 2 * 3 + 3 * 2 + 0.5);
  EXPECT_EQ(feature("relu", pixel(1, 4, 3)), 3 * 2 + 0.5);
  const auto gelu = [](double x) { return x * (1 + std::erf(x / std::sqrt(2.0))) / 2; };
  EXPECT_NEAR(feature("gelu", pixel(1, 4, 3)), gelu(2 * gelu(-3) + 3 * gelu(2) + 0.5), 1e-5);
}

TEST(Mlp, FeaturesComeAfterTheActivation) {
  EXPECT_EQ(feature("relu", pixel(0, 4, 0)), 0.5);
  Weights weights = by_hand();
  weights["layers.1.bias"] = at::tensor({-20.0F});
  const auto architecture = make_architecture(two_layers("relu"));
  EXPECT_EQ(architecture->features(weights, pixel(4, 1, 3), Pooling::kMean, {}).item<double>(), 0);
}

TEST(Mlp, AxisGroupsAreTheUnitsOfEachLayer) {
  const auto groups = make_architecture(two_layers("relu"))->axis_groups();
  ASSERT_EQ(groups.size(), 2U);
  EXPECT_EQ(groups[0].size, 2);
  EXPECT_FALSE(groups[0].features);
  ASSERT_EQ(groups[0].axes.size(), 3U);
  EXPECT_EQ(groups[0].axes[2].tensor, "layers.1.weight");
  EXPECT_EQ(groups[0].axes[2].axis, 1);
  EXPECT_FALSE(groups[0].axes[2].makes);
  EXPECT_EQ(groups[1].size, 1);
  EXPECT_TRUE(groups[1].features);
  EXPECT_EQ(groups[1].axes.size(), 2U);
}

TEST(Mlp, FeaturesOfEachTokenAreRefused) {
  const auto architecture = make_architecture(two_layers("relu"));
  EXPECT_THAT(
      message_of<ConfigError>([&] { architecture->features(by_hand(), pixel(0, 0, 0), Pooling::kNone, {}); }),
      AllOf(HasSubstr("architecture mlp"), HasSubstr("it is none")));
}

TEST(Mlp, UnsupportedConfigurationsNameFieldAndValue) {
  const std::vector<std::pair<std::string, json>> cases{
      {"image_size", 0},        {"hidden_sizes", json::array()}, {"hidden_sizes", 5},
      {"hidden_sizes", {4, 0}}, {"hidden_act", "tanh"},          {"num_channels", 2},
      {"hidden_sizes", {}},     {"hidden_sizes", {1.5}}};
  for (const auto& [field, value] : cases) {
    json config = two_layers("relu");
    config[field] = value;
    EXPECT_THAT(message_of<ConfigError>([&, &changed = config] { make_architecture(changed); }),
                AllOf(HasSubstr(field), HasSubstr(value.dump())));
  }
  EXPECT_THAT(message_of<ConfigError>([] {
                make_architecture({{"model_type", "mlp"}});
              }),
              HasSubstr("missing"));
}

}  // namespace
}  // namespace fusegrid::mlp_test
