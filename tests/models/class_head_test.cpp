#include "models/class_head.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/linear.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "models/readout.h"
#include "support/small_models.h"

namespace fusegrid::class_head_test {
namespace {

using nlohmann::json;

const json& perceptron() {
  static const json config{{"model_type", "mlp"},
                           {"image_size", 3},
                           {"num_channels", 1},
                           {"hidden_sizes", {4, 5}},
                           {"num_labels", 6}};
  return config;
}

TEST(ClassHead, IsAParameterThatTheModelAnswersWith) {
  const auto architecture = make_architecture(perceptron());
  const Weights weights = random_weights(*architecture);
  ASSERT_EQ(weights.at("classifier.weight").sizes().vec(), (std::vector<int64_t>{6, 5}));
  ASSERT_EQ(weights.at("layers.0.weight").sizes().vec(), (std::vector<int64_t>{4, 9}));

  const auto head = architecture->own_head();
  ASSERT_TRUE(head.has_value());
  EXPECT_FALSE(head->of_tokens());
  const auto readout = own_readout(*head, 5, 6);
  const at::Tensor features = architecture->features(weights, random_images(2, 3), readout->pooling());
  EXPECT_TRUE(
      (*readout)(weights, features)
          .allclose(at::linear(features, weights.at("classifier.weight"), weights.at("classifier.bias"))));
  EXPECT_TRUE(readout->weights().empty());
}

TEST(ClassHead, ReadsTheGroupOfTheFeatures) {
  const auto groups = make_architecture(perceptron())->axis_groups();
  ASSERT_EQ(groups.size(), 2U);
  EXPECT_EQ(groups[0].axes.back().tensor, "layers.1.weight");
  EXPECT_EQ(groups[1].axes.back().tensor, "classifier.weight");
  EXPECT_EQ(groups[1].axes.back().axis, 1);
  EXPECT_FALSE(groups[1].axes.back().makes);
}

TEST(ClassHead, ThereIsNoneWithoutLabels) {
  json config = perceptron();
  config.erase("num_labels");
  const auto architecture = make_architecture(config);
  EXPECT_FALSE(architecture->own_head().has_value());
  for (const TensorInfo& info : architecture->parameters()) {
    EXPECT_EQ(info.name.find("classifier"), std::string::npos);
  }
}

}  // namespace
}  // namespace fusegrid::class_head_test
