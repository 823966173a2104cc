#include "models/network.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid::network_test {
namespace {

using testing::HasSubstr;

at::Tensor two_rows() {
  return at::tensor({1.0F, 0.0F, 0.6F, 0.8F}).view({2, 2});
}

Network two_wide() {
  Network network;
  network.architecture = make_architecture({{"model_type", "clip_vision_model"},
                                            {"hidden_size", 2},
                                            {"intermediate_size", 4},
                                            {"num_hidden_layers", 1},
                                            {"num_attention_heads", 1},
                                            {"image_size", 4},
                                            {"patch_size", 2}});
  network.readouts["mnist"] = cosine_readout(two_rows(), 10);
  return network;
}

Network of_tokens() {
  Network network;
  network.architecture = make_architecture({{"model_type", "bert"},
                                            {"hidden_size", 2},
                                            {"intermediate_size", 4},
                                            {"num_hidden_layers", 1},
                                            {"num_attention_heads", 1},
                                            {"vocab_size", 7},
                                            {"max_position_embeddings", 11}});
  return network;
}

Inputs images(int64_t size, int value) {
  Inputs inputs;
  inputs.images = at::full({1, 3, size, size}, value, at::kByte);
  return inputs;
}

Inputs rows_of_ones(int64_t width) {
  Inputs inputs;
  inputs.tokens = at::ones({2, width}, at::kLong);
  inputs.lengths = at::tensor({1, 2}, at::kLong);
  return inputs;
}

TEST(Network, PixelsAreNormalisedPerChannel) {
  Network network = two_wide();
  network.normalisation = {{0.5, 0.0, 1.0}, {0.5, 1.0, 0.25}};

  const at::Tensor pixels = network.ready(images(4, 255)).images;

  EXPECT_FLOAT_EQ(pixels[0][0][0][0].item<float>(), 1);
  EXPECT_FLOAT_EQ(pixels[0][1][3][3].item<float>(), 1);
  EXPECT_FLOAT_EQ(pixels[0][2][1][2].item<float>(), 0);
}

TEST(Network, ImagesOfAnotherSizeAreAnError) {
  EXPECT_THROW(two_wide().ready(images(8, 0)), ConfigError);
}

TEST(Network, RowsAreCutToThePositionsThatThereAre) {
  const Inputs ready = of_tokens().ready(rows_of_ones(16));  // 11 tokens are filled up to 16
  EXPECT_EQ(ready.tokens.size(1), 11);
  EXPECT_EQ(of_tokens().ready(rows_of_ones(8)).tokens.size(1), 8);
}

TEST(Network, LongerRowsThanPositionsAreAnError) {
  const auto message = message_of<ConfigError>([] { of_tokens().ready(rows_of_ones(24)); });
  EXPECT_THAT(message, HasSubstr("at most 11 tokens"));
  EXPECT_THAT(message, HasSubstr("up to 24"));
}

TEST(Network, InputsOfAnotherKindAreAnError) {
  EXPECT_THAT(message_of<ConfigError>([] { of_tokens().ready(images(4, 0)); }), HasSubstr("reads tokens"));
  EXPECT_THAT(message_of<ConfigError>([] { two_wide().ready(rows_of_ones(8)); }), HasSubstr("reads images"));
}

TEST(Network, LogitsAreScaledCosines) {
  const at::Tensor logits = two_wide().read({}, at::tensor({3.0F, 4.0F}).view({1, 2}), "mnist");
  EXPECT_FLOAT_EQ(logits[0][0].item<float>(), 6);
  EXPECT_FLOAT_EQ(logits[0][1].item<float>(), 10);
}

TEST(Network, TheProjectionComesBeforeTheNorm) {
  Network network = two_wide();
  const at::Tensor projection = at::tensor({0.0F, 1.0F, 0.0F, 0.0F}).view({2, 2});  // (x, y) -> (y, 0)
  network.readouts["mnist"] = cosine_readout(two_rows(), 10, projection);
  const at::Tensor logits = network.read({}, at::tensor({3.0F, 4.0F}).view({1, 2}), "mnist");
  EXPECT_FLOAT_EQ(logits[0][0].item<float>(), 10);
  EXPECT_FLOAT_EQ(logits[0][1].item<float>(), 6);
}

TEST(Network, ZeroFeaturesGiveZeroLogits) {
  EXPECT_EQ(two_wide().read({}, at::zeros({1, 2}), "mnist").abs().sum().item<float>(), 0);
}

TEST(Network, AnAffineReadoutAddsItsBias) {
  Network network = two_wide();
  network.readouts["mnist"] = affine_readout(two_rows(), at::tensor({1.0F, -5.0F}), Pooling::kMean);
  const at::Tensor logits = network.read({}, at::tensor({3.0F, 4.0F}).view({1, 2}), "mnist");
  EXPECT_FLOAT_EQ(logits[0][0].item<float>(), 4);
  EXPECT_FLOAT_EQ(logits[0][1].item<float>(), 0);
  EXPECT_EQ(network.pooling(), Pooling::kMean);
}

TEST(Network, TheDigestIsOfAllAroundTheWeights) {
  const std::string before = digest(two_wide());
  EXPECT_EQ(digest(two_wide()), before);
  const auto changed = [](const std::function<void(Network&)>& change) {
    Network network = two_wide();
    change(network);
    return digest(network);
  };
  EXPECT_NE(changed([](Network& network) { network.precision = Precision::kTf32; }), before);
  EXPECT_NE(changed([](Network& network) { network.normalisation.mean[1] = 0.25; }), before);
  EXPECT_NE(changed([](Network& network) { network.readouts["b"] = network.readouts["mnist"]; }), before);
  EXPECT_NE(changed([](Network& network) { network.readouts["mnist"] = cosine_readout(two_rows(), 11); }),
            before);
}

// Heads of their own would be in the digest; those of tokens are in the models, and their features are not pooled.
TEST(Network, TheDigestOfModelsOfTokensHasNoHeads) {
  Network network = of_tokens();
  const std::string without = digest(network);
  network.readouts["a"] = own_readout({"rows"}, 2, 7);
  EXPECT_EQ(network.pooling(), Pooling::kNone);
  EXPECT_NE(digest(network), without);
  const std::string of_one_task = digest(network);
  network.readouts["b"] = network.readouts["a"];
  EXPECT_EQ(digest(network), of_one_task);
}

TEST(Network, ReadyInputsKeepTheirAnswers) {
  Inputs inputs = rows_of_ones(16);
  inputs.answer = at::ones({2, 3}, at::kLong);
  inputs.answer_lengths = at::tensor({3, 2}, at::kLong);
  const Inputs ready = of_tokens().ready(inputs);
  EXPECT_TRUE(ready.answer.equal(inputs.answer));
  EXPECT_TRUE(ready.answer_lengths.equal(inputs.answer_lengths));
}

TEST(Network, UnknownHeadsListTheKnown) {
  const auto message = message_of<ConfigError>([] { two_wide().readout("fashion"); });
  EXPECT_THAT(message, HasSubstr("Heads: mnist"));
}

}  // namespace
}  // namespace fusegrid::network_test
