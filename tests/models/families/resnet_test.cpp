// Golden values: tests/golden/make_image_models.py (transformers; small networks: a definition of our own). What holds
// for every family: tests/models/families_test.cpp.
#include <algorithm>
#include <map>

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/errors.h"
#include "models/channel_norm.h"
#include "models/readout.h"
#include "support/golden_images.h"
#include "support/small_models.h"
#include "support/temporary_folder.h"

namespace fusegrid::resnet_test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

constexpr double kRounding = 1e-11;

class ResNetGolden : public testing::TestWithParam<std::string> {
 protected:
  GoldenImages golden{GetParam()};
  at::Tensor features(Pooling pooling, const Pass& pass = {}) const {
    return golden.architecture->features(golden.weights, golden.inputs, pooling, pass);
  }
};

TEST_P(ResNetGolden, FeaturesAgree) {
  const at::Tensor mean = features(Pooling::kMean);
  EXPECT_LE(max_error(mean, GoldenImages::numbers(golden.expected.at("features"), mean)), kRounding);
  const at::Tensor map = features(Pooling::kNone);
  EXPECT_LE(max_error(map.mean(1), mean), kRounding);
  if (golden.expected.contains("map")) {
    EXPECT_LE(max_error(map, GoldenImages::numbers(golden.expected.at("map"), map)), kRounding);
  }
}

TEST_P(ResNetGolden, FilesHaveTheParametersUnderTheirNames) {
  golden.expect_names_of_files();
}

TEST_P(ResNetGolden, TheOwnHeadMakesTheLogits) {
  const auto head = golden.architecture->own_head();
  ASSERT_EQ(head.has_value(), golden.expected.contains("logits"));
  if (head) {
    const at::Tensor logits =
        at::linear(features(Pooling::kMean), golden.weights.at(head->weight), golden.weights.at(head->bias));
    EXPECT_LE(max_error(logits, GoldenImages::numbers(golden.expected.at("logits"), logits)), kRounding);
  }
}

TEST_P(ResNetGolden, StatisticsOfABatchAgree) {
  if (!golden.expected.contains("batch_statistics")) {
    GTEST_SKIP() << "no batch norm";
  }
  const json& expected = golden.expected.at("batch_statistics");
  size_t told = 0;
  const Pass asking{.batch_statistics = [&](const std::string& norm, const at::Tensor& mean,
                                            const at::Tensor& variance) {
    ++told;
    EXPECT_TRUE(golden.weights.contains(running_mean_of(norm))) << norm;
    EXPECT_LE(max_error(mean, GoldenImages::numbers(expected.at(norm)[0], mean)), kRounding) << norm;
    EXPECT_LE(max_error(variance, GoldenImages::numbers(expected.at(norm)[1], variance)), kRounding) << norm;
  }};
  const at::Tensor mean = features(Pooling::kMean, asking);
  EXPECT_EQ(told, expected.size());
  if (golden.expected.contains("features_of_batch")) {
    EXPECT_LE(max_error(mean, GoldenImages::numbers(golden.expected.at("features_of_batch"), mean)),
              kRounding);
  }
}

INSTANTIATE_TEST_SUITE_P(ResNet, ResNetGolden,
                         testing::Values("resnet_basic", "resnet_bottleneck", "resnet_downsampling",
                                         "resnet_dilated", "small_resnet", "small_resnet_layer_norm",
                                         "small_resnet_dilated"));

json resnet20(int64_t width, const json& labels) {
  return {{"model_type", "resnet_cifar"}, {"image_size", 28}, {"hidden_sizes", {width, 2 * width, 4 * width}},
          {"depths", {3, 3, 3}},          {"stem_stride", 2}, {"num_labels", labels}};
}

// ResNet-50: torchvision's documentation. ResNet-20 of gray images of 28 pixels, with running statistics: a prototype
// in Python.
TEST(ResNet, ParametersAreCounted) {
  const auto published = make_architecture({{"model_type", "resnet"}, {"num_labels", 1000}});
  EXPECT_EQ(count_parameters(*published, /*with_statistics=*/false), 25557032);
  for (const auto& [width, count] : std::map<int64_t, int64_t>{{8, 69426}, {16, 273754}, {32, 1087146}}) {
    json config = resnet20(width, 10);
    config["num_channels"] = 1;
    EXPECT_EQ(count_parameters(*make_architecture(config)), count) << width;
  }
}

TEST(ResNet, PermutingTheStreamThatItsHeadReadsLeavesTheLogits) {
  const auto architecture = make_architecture(resnet20(4, 3));
  const Weights weights = random_weights(*architecture);
  const Inputs inputs = random_images(2, 28);
  const auto readout = own_readout(*architecture->own_head(), architecture->feature_size(), 3);
  const auto logits = [&](const Weights& from) {
    return (*readout)(from, architecture->features(from, inputs, readout->pooling()));
  };
  const auto groups = architecture->axis_groups();
  const auto last =
      std::find_if(groups.begin(), groups.end(), [](const AxisGroup& group) { return group.features; });
  ASSERT_NE(last, groups.end());
  Weights changed = weights;
  for (const AxisGroup::Axis& axis : last->axes) {
    changed[axis.tensor] = changed.at(axis.tensor).flip({axis.axis});
  }
  EXPECT_FALSE(changed.at("classifier.weight").equal(weights.at("classifier.weight")));
  const at::Tensor expected = logits(weights);
  EXPECT_LE(max_error(logits(changed), expected), 1e-12 * (1 + expected.abs().max().item<double>()));
}

TEST(ResNet, StreamsSpanStagesAndBlocksHaveTheirOwnGroups) {
  const auto groups = make_architecture(resnet20(4, 10))->axis_groups();
  ASSERT_EQ(groups.size(), 12U);  // nine blocks and three stages
  std::map<std::string, AxisGroup> by_name;
  for (const AxisGroup& group : groups) {
    by_name.emplace(group.name, group);
  }
  EXPECT_EQ(by_name.size(), 12U);
  // The stem and three blocks make a kernel and four tensors of a norm each; four blocks and a shortcut read.
  EXPECT_EQ(by_name.at("embedder").axes.size(), 4U * 5 + 3 + 2);
  EXPECT_EQ(by_name.at("encoder.stages.1").size, 8);
  EXPECT_EQ(by_name.at("encoder.stages.0.layers.1.layer.0").axes.size(), 5U + 1);
  EXPECT_TRUE(by_name.at("encoder.stages.2").features);
  EXPECT_EQ(by_name.at("encoder.stages.2").axes.back().tensor, "classifier.weight");
}

TEST(ResNet, DilatedStagesKeepTheirSize) {
  json config = resnet20(4, 0);
  EXPECT_EQ(make_architecture(config)->num_tokens(), 4 * 4);
  config["dilations"] = {1, 1, 2};
  EXPECT_EQ(make_architecture(config)->num_tokens(), 7 * 7);
  config["dilations"] = {1, 2, 4};
  EXPECT_EQ(make_architecture(config)->num_tokens(), 14 * 14);
}

TEST(ResNet, PublishedOnesMakeFinerMapsOfImagesOfAnySize) {
  json config{{"model_type", "resnet"}, {"image_size", {288, 384}}};
  const auto map = [&] { return make_architecture(config)->map_size(); };
  EXPECT_EQ(make_architecture(config)->input().pixels(), (PixelSize{288, 384}));
  EXPECT_EQ(map(), (PixelSize{9, 12}));
  config["output_stride"] = 16;
  EXPECT_EQ(map(), (PixelSize{18, 24}));
  config["output_stride"] = 8;
  EXPECT_EQ(map(), (PixelSize{36, 48}));
  EXPECT_EQ(make_architecture(config)->num_tokens(), 36 * 48);
  EXPECT_EQ(architecture_settings(config).at("output_stride"), 8);
  EXPECT_FALSE(architecture_settings({{"model_type", "resnet"}}).contains("output_stride"));
}

TEST(ResNet, SizesThatItCannotHaveAreRefused) {
  const auto message = [](const json& fields) {
    json config{{"model_type", "resnet"}};
    config.update(fields);
    return message_of<ConfigError>([&] { make_architecture(config); });
  };
  EXPECT_THAT(message({{"image_size", {288, 384, 3}}}),
              HasSubstr("image_size must be one number, or height and width"));
  EXPECT_THAT(message({{"output_stride", 4}}), HasSubstr("output_stride must be 8, 16 or 32"));
  const std::string rule = "output_stride must be 32 of a network without bottleneck layers that shrink";
  EXPECT_THAT(message({{"output_stride", 8}, {"layer_type", "basic"}}), HasSubstr(rule));
  EXPECT_THAT(message({{"output_stride", 8}, {"downsample_in_bottleneck", true}}), HasSubstr(rule));
}

// Without them transformers says that it made up weights.
TEST(ResNet, CompleteFilesHaveTheCountersOfBatchNorms) {
  const auto architecture = make_architecture(resnet20(4, 0));
  Weights stored = random_weights(*architecture);
  const size_t parameters = stored.size();
  json config;
  architecture->complete(config, stored);
  EXPECT_EQ(stored.size(), parameters + 21) << "as there are norms";
  const at::Tensor& counter = stored.at("embedder.embedder.normalization.num_batches_tracked");
  EXPECT_EQ(counter.dim(), 0);
  EXPECT_EQ(counter.scalar_type(), at::kLong);
}

TEST(ResNet, UnsupportedConfigurationsNameFieldAndValue) {
  const std::vector<std::pair<std::string, json>> of_small{
      {"image_size", 0},      {"hidden_sizes", {4}}, {"depths", {1, 2}},  {"stem_stride", 3},
      {"norm", "none"},       {"dilations", {1}},    {"num_channels", 2}, {"layer_type", "wide"},
      {"hidden_act", "gelu"}, {"num_labels", -1}};
  for (const auto& [field, value] : of_small) {
    json config = resnet20(4, 0);
    config[field] = value;
    EXPECT_THAT(message_of<ConfigError>([&, &changed = config] { make_architecture(changed); }),
                AllOf(HasSubstr(field == "hidden_sizes" ? "depths" : field)));
  }
  EXPECT_THAT(message_of<ConfigError>([] {
                make_architecture({{"model_type", "resnet"}, {"hidden_sizes", {8, 6}}, {"depths", {1, 1}}});
              }),
              AllOf(HasSubstr("hidden_sizes"), HasSubstr("multiples of 4"), HasSubstr("[8,6]")));
}

}  // namespace
}  // namespace fusegrid::resnet_test
