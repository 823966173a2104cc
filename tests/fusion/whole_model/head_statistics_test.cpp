#include "fusion/whole_model/head_statistics.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "core/philox.h"
#include "models/dense_readout.h"
#include "support/small_models.h"
#include "support/temporary_folder.h"
#include "support/test_zoo.h"

namespace fusegrid {
namespace {

using testing::HasSubstr;

// A net whose features are maps of 2 x 2 positions, a decoder and an affine head.
Network map_network() {
  Network network;
  network.architecture = make_architecture({{"model_type", "resnet_cifar"},
                                            {"image_size", 8},
                                            {"hidden_sizes", {2, 3}},
                                            {"depths", {1, 1}},
                                            {"stem_stride", 2}});
  Weights decoder;
  for (const TensorInfo& info : decoder_parameters(3, 2, 1)) {
    decoder.emplace(info.name, normal(3, info.name.size(), 0, info.numel()).abs().view(info.shape));
  }
  network.readouts = {{"maps", dense_readout(decoder, map_sizes(*network.architecture))},
                      {"rows", affine_readout(at::zeros({2, 3}), at::zeros({2}), Pooling::kNone)}};
  return network;
}

std::vector<Inputs> ready_batches(const Network& network) {
  std::vector<Inputs> batches;
  for (uint64_t i = 0; i < 2; ++i) {
    const at::Tensor pixels = (uniform(5, i, 0, 4 * 3 * 64) * 255).to(at::kByte).view({4, 3, 8, 8});
    batches.push_back(network.ready({pixels, {}, {}}));
  }
  return batches;
}

TEST(HeadStatistics, are_those_of_the_features_of_the_merged_model) {
  const Network network = map_network();
  const Weights model = random_weights(*network.architecture);
  const auto batches = ready_batches(network);
  const auto heads =
      re_estimated_heads(network, *one_model(model).predictor, {{"maps", batches}, {"rows", batches}});
  ASSERT_EQ(heads.size(), 1U) << "an affine head has none";
  const auto expected = network.readout("maps").re_estimated(
      {network.features(model, batches[0]), network.features(model, batches[1])});
  EXPECT_EQ(digest(heads.at("maps")->weights()), digest(expected->weights()));
  EXPECT_NE(digest(heads.at("maps")->weights()), digest(network.readout("maps").weights()));
}

TEST(HeadStatistics, are_refused_of_an_ensemble) {
  const Network network = map_network();
  const Weights model = random_weights(*network.architecture);
  const FusedModel both = ensemble(
      {model, model}, EnsembleLevel::kLogits,
      [](const std::vector<at::Tensor>& answers, const std::string& /*head*/) { return answers.front(); });
  EXPECT_THAT(message_of<ConfigError>([&] {
                re_estimated_heads(network, *both.predictor, {{"maps", ready_batches(network)}});
              }),
              HasSubstr("several answer task 'maps' together; take statistics=re_estimated"));
}

}  // namespace
}  // namespace fusegrid
