#include "models/feeder.h"

#include <stdexcept>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/concatenate.h"
#include "core/errors.h"
#include "core/philox.h"
#include "support/gpu.h"

namespace fusegrid::feeder_test {
namespace {

using testing::HasSubstr;

constexpr int64_t kImages = 1003;  // the last batch is a short one
constexpr int64_t kBatch = 64;     // so that a split is many windows long

Network network_on(const at::Device& device) {
  Network network;
  network.architecture = make_architecture({{"model_type", "clip_vision_model"},
                                            {"hidden_size", 32},
                                            {"intermediate_size", 64},
                                            {"num_hidden_layers", 2},
                                            {"num_attention_heads", 2},
                                            {"image_size", 32},
                                            {"patch_size", 8}});
  network.device = device;
  return network;
}

Weights random_weights(const Network& network) {
  Weights weights;
  for (const TensorInfo& info : network.architecture->parameters()) {
    weights[info.name] =
        (normal(7, derive_key(0, info.name), 0, info.numel()) * 0.2).view(info.shape).to(network.device);
  }
  return weights;
}

Inputs images(int64_t size = 32) {
  Inputs inputs;
  inputs.images =
      (uniform(3, 0, 0, kImages * 3 * size * size) * 256).to(at::kByte).view({kImages, 3, size, size});
  return inputs;
}

// What a pass over everything gives, in the order of the inputs.
at::Tensor features_of(const Network& network, const Weights& weights, const Inputs& inputs) {
  const at::NoGradGuard no_grad;
  at::Tensor all;
  feed(network, inputs, kBatch, [&](const Inputs& ready, const at::Tensor& places) {
    const at::Tensor features = network.features(weights, ready).cpu();
    if (!all.defined()) {
      all = at::zeros({inputs.size(), features.size(1)});
    }
    all.index_copy_(0, places, features);
  });
  return all;
}

TEST(Feeder, EveryRowIsVisitedOnceAndReady) {
  const Network network = network_on(at::kCPU);
  const Inputs inputs = images();
  std::vector<at::Tensor> visited;
  feed(network, inputs, kBatch, [&](const Inputs& ready, const at::Tensor& places) {
    visited.push_back(places);
    EXPECT_TRUE(at::equal(ready.images, network.ready(inputs.select(places)).images));
  });
  EXPECT_TRUE(at::equal(concatenate(visited), at::arange(kImages)));
}

TEST(Feeder, WhatAVisitThrowsArrives) {
  const auto failing = [](const Inputs&, const at::Tensor&) { throw std::runtime_error("of the visit"); };
  EXPECT_THROW(feed(network_on(at::kCPU), images(), kBatch, failing), std::runtime_error);
}

class FeederOfAGpu : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_gpu()) {
      GTEST_SKIP() << "no GPU";
    }
  }
};

TEST_F(FeederOfAGpu, AWindowGivesTheBitsOfASplitThatIsOnTheDevice) {
  const Network network = network_on(kGpu);
  const Weights weights = random_weights(network);
  const Inputs inputs = images();
  EXPECT_TRUE(
      at::equal(features_of(network, weights, inputs), features_of(network, weights, inputs.to(kGpu))));
}

TEST_F(FeederOfAGpu, WhatEitherThreadThrowsArrives) {
  const Network network = network_on(kGpu);
  const auto ignore = [](const Inputs&, const at::Tensor&) {};
  try {
    feed(network, images(16), kBatch, ignore);
    ADD_FAILURE() << "images of another size were fed";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("32"));
  }
  const auto failing = [](const Inputs&, const at::Tensor&) { throw std::runtime_error("of the visit"); };
  EXPECT_THROW(feed(network, images(), kBatch, failing), std::runtime_error);
}

}  // namespace
}  // namespace fusegrid::feeder_test
