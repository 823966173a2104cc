#include "models/network.h"

#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

Network two_wide() {
  Network network;
  network.architecture = make_architecture({{"model_type", "clip_vision_model"},
                                            {"hidden_size", 2},
                                            {"intermediate_size", 4},
                                            {"num_hidden_layers", 1},
                                            {"num_attention_heads", 1},
                                            {"image_size", 4},
                                            {"patch_size", 2}});
  network.heads["mnist"] = {at::tensor({1.0F, 0.0F, 0.6F, 0.8F}).view({2, 2}), 10};
  return network;
}

TEST(Network, PixelsAreNormalisedPerChannel) {
  Network network = two_wide();
  network.normalisation = {{0.5, 0.0, 1.0}, {0.5, 1.0, 0.25}};

  const at::Tensor pixels = network.pixels(at::full({1, 3, 4, 4}, 255, at::kByte));

  EXPECT_FLOAT_EQ(pixels[0][0][0][0].item<float>(), 1);
  EXPECT_FLOAT_EQ(pixels[0][1][3][3].item<float>(), 1);
  EXPECT_FLOAT_EQ(pixels[0][2][1][2].item<float>(), 0);
}

TEST(Network, ImagesOfAnotherSizeAreAnError) {
  EXPECT_THROW(two_wide().pixels(at::zeros({1, 3, 8, 8}, at::kByte)), ConfigError);
}

TEST(Network, LogitsAreScaledCosines) {
  const at::Tensor logits = two_wide().logits(at::tensor({3.0F, 4.0F}).view({1, 2}), "mnist");
  EXPECT_FLOAT_EQ(logits[0][0].item<float>(), 6);
  EXPECT_FLOAT_EQ(logits[0][1].item<float>(), 10);
}

TEST(Network, TheProjectionComesBeforeTheNorm) {
  Network network = two_wide();
  network.projection = at::tensor({0.0F, 1.0F, 0.0F, 0.0F}).view({2, 2});  // (x, y) -> (y, 0)
  const at::Tensor logits = network.logits(at::tensor({3.0F, 4.0F}).view({1, 2}), "mnist");
  EXPECT_FLOAT_EQ(logits[0][0].item<float>(), 10);
  EXPECT_FLOAT_EQ(logits[0][1].item<float>(), 6);
}

TEST(Network, ZeroFeaturesGiveZeroLogits) {
  EXPECT_EQ(two_wide().logits(at::zeros({1, 2}), "mnist").abs().sum().item<float>(), 0);
}

TEST(Network, UnknownHeadsListTheKnown) {
  try {
    two_wide().head("fashion");
    FAIL() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("Heads: mnist"));
  }
}

}  // namespace
}  // namespace fusegrid
