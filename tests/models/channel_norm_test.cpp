#include "models/channel_norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/errors.h"
#include "support/small_models.h"
#include "support/temporary_folder.h"

namespace fusegrid::channel_norm_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

at::Tensor doubles(const std::vector<double>& values, at::IntArrayRef shape) {
  return at::tensor(values, at::kDouble).view(shape);
}

// Two examples of two channels at two positions.
at::Tensor map() {
  return doubles({1, 2, 10, 30, 3, 6, 20, 20}, {2, 2, 2, 1});
}

Weights tensors_of_norm() {
  return {{"norm.weight", doubles({2, -1}, {2})},
          {"norm.bias", doubles({0.5, 0}, {2})},
          {"norm.running_mean", doubles({1, 20}, {2})},
          {"norm.running_var", doubles({3.75, 24.75}, {2})}};
}

ChannelNorm norm_of(ChannelNormKind kind) {
  return {kind, "norm", 2, 0.25};
}

TEST(ChannelNorm, OfABatchUsesRunningStatistics) {
  const at::Tensor normed = norm_of(ChannelNormKind::kBatch)(tensors_of_norm(), map(), {});
  // the roots of variance and epsilon are 2 and 5
  EXPECT_LE(max_error(normed, doubles({0.5, 1.5, 2, -2, 2.5, 5.5, 0, 0}, {2, 2, 2, 1})), 1e-14);
}

TEST(ChannelNorm, OfABatchUsesAndTellsTheBatchsOwnWhereItIsAsked) {
  int told = 0;
  const Pass asking{
      .batch_statistics = [&](const std::string& norm, const at::Tensor& mean, const at::Tensor& variance) {
        ++told;
        EXPECT_EQ(norm, "norm");
        EXPECT_LE(max_error(mean, doubles({3, 20}, {2})), 1e-14);
        EXPECT_LE(max_error(variance, doubles({14.0 / 3, 200.0 / 3}, {2})), 1e-13) << "unbiased";
      }};
  const Weights weights = tensors_of_norm();
  const at::Tensor normed = norm_of(ChannelNormKind::kBatch)(weights, map(), asking);
  EXPECT_EQ(told, 1);
  // variances over the number of values: 3.5 and 50
  const at::Tensor mean = doubles({3, 20}, {1, 2, 1, 1});
  const at::Tensor root = doubles({3.75, 50.25}, {1, 2, 1, 1}).sqrt();
  const at::Tensor expected =
      (map() - mean) / root * doubles({2, -1}, {1, 2, 1, 1}) + doubles({0.5, 0}, {1, 2, 1, 1});
  EXPECT_LE(max_error(normed, expected), 1e-14);
  EXPECT_LE(max_error(weights.at("norm.running_mean"), tensors_of_norm().at("norm.running_mean")), 0);
}

TEST(ChannelNorm, OfALayerNormsEachExampleAlone) {
  const ChannelNorm norm = norm_of(ChannelNormKind::kLayer);
  const at::Tensor normed = norm(tensors_of_norm(), map(), {});
  const at::Tensor first = map()[0];
  const at::Tensor variance = (first - first.mean()).square().mean();
  const at::Tensor expected =
      (first - first.mean()) / (variance + 0.25).sqrt() * doubles({2, -1}, {2, 1, 1}) +
      doubles({0.5, 0}, {2, 1, 1});
  EXPECT_LE(max_error(normed[0], expected), 1e-14);
  EXPECT_LE(max_error(norm(tensors_of_norm(), map().narrow(0, 0, 1), {}), normed.narrow(0, 0, 1)), 1e-14);
}

TEST(ChannelNorm, WithoutANormNothingHappensAndThereAreNoTensors) {
  const ChannelNorm norm = norm_of(ChannelNormKind::kNone);
  EXPECT_TRUE(norm({}, map(), {}).equal(map()));
  EXPECT_TRUE(norm.tensors().empty());
}

TEST(ChannelNorm, OfABatchIsComputedInFloat32) {
  Weights weights = tensors_of_norm();
  weights["norm.running_mean"] = doubles({1000, 0}, {2});
  for (auto& [name, tensor] : weights) {
    tensor = tensor.to(at::kBFloat16);
  }
  const at::Tensor x = at::full({1, 2, 1, 1}, 1000.0).to(at::kBFloat16);
  const at::Tensor normed = norm_of(ChannelNormKind::kBatch)(weights, x, {});
  EXPECT_EQ(normed.scalar_type(), at::kBFloat16);
  EXPECT_EQ(normed[0][0].item<double>(), 0.5) << "the shift alone";
}

TEST(ChannelNorm, OneValueHasNoVariance) {
  const Pass asking{.batch_statistics = [](const std::string&, const at::Tensor&, const at::Tensor&) {}};
  const ChannelNorm norm = norm_of(ChannelNormKind::kBatch);
  EXPECT_THAT(message_of<ConfigError>([&] {
                norm(tensors_of_norm(), at::ones({1, 2, 1, 1}), asking);
              }),
              AllOf(HasSubstr("batch norm norm"), HasSubstr("larger batches")));
  EXPECT_NO_THROW(norm(tensors_of_norm(), at::ones({2, 2, 1, 1}, at::kDouble), asking));
}

TEST(ChannelNorm, HasItsNameInConfigurations) {
  const nlohmann::json config{{"norm", "layer"}};
  const ConfigReader reader(config, "");
  EXPECT_EQ(read_norm(reader, "batch", {"batch", "layer"}), ChannelNormKind::kLayer);
  EXPECT_THAT(message_of<ConfigError>([&] {
                read_norm(reader, "batch", {"none", "batch"});
              }),
              AllOf(HasSubstr("norm must be none or batch"), HasSubstr("layer")));
}

}  // namespace
}  // namespace fusegrid::channel_norm_test
