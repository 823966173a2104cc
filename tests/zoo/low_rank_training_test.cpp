#include "zoo/low_rank_training.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/philox.h"
#include "models/architecture.h"
#include "models/inputs.h"

namespace fusegrid::low_rank_training_test {
namespace {

class Adapters : public testing::Test {
 protected:
  Adapters() {
    for (const TensorInfo& info : model_->parameters()) {
      weights_[info.name] = normal(1, stream_++, 0, info.numel()).view(info.shape) * 0.3;
    }
  }
  at::Tensor features(const Weights& weights, const Pass& pass = {}) const {
    const Inputs inputs{
        {}, at::tensor({3, 7, 1, 9, 2, 2}, at::kLong).view({2, 3}), at::tensor({3, 2}, at::kLong)};
    return model_->features(weights, inputs, Pooling::kMean, pass);
  }

  std::unique_ptr<Architecture> model_ = make_architecture({{"model_type", "bert"},
                                                            {"hidden_size", 8},
                                                            {"num_hidden_layers", 2},
                                                            {"num_attention_heads", 2},
                                                            {"intermediate_size", 16},
                                                            {"vocab_size", 40},
                                                            {"max_position_embeddings", 32},
                                                            {"type_vocab_size", 0}});
  TrainedFactors factors_{*model_, {"query", "dense"}, 3, 2, 11, at::kCPU};
  Weights weights_;
  uint64_t stream_ = 0;
};

TEST_F(Adapters, AreOfTheChosenLayersAndBeginAsTheBase) {
  const FactorsByName factors = factors_.factors();
  EXPECT_EQ(factors.size(), 2 * (1 + 3))
      << "per block: queries, and the outputs of attention and both of the MLP";
  for (const auto& [name, of_matrix] : factors) {
    const auto shape = weights_.at(name).sizes().vec();
    EXPECT_EQ(of_matrix.a.sizes().vec(), (std::vector<int64_t>{3, shape[1]})) << name;
    EXPECT_EQ(of_matrix.b.sizes().vec(), (std::vector<int64_t>{shape[0], 3})) << name;
    EXPECT_EQ(of_matrix.b.abs().max().item<float>(), 0);
    EXPECT_EQ(of_matrix.scale, 2);
  }
  EXPECT_EQ(factors_.trained().size(), 16U);
  EXPECT_TRUE(features(weights_, factors_.pass()).equal(features(weights_)));
}

TEST_F(Adapters, BeginWithNormalNumbersThatTheKeyChooses) {
  const TrainedFactors wide(*model_, {"query", "dense"}, 200, 2, 11, at::kCPU);
  for (const auto& [name, of_matrix] : wide.factors()) {
    const auto in = static_cast<double>(of_matrix.a.size(1));
    const auto count = static_cast<double>(of_matrix.a.numel());
    EXPECT_NEAR(of_matrix.a.square().mean().item<double>() * in, 1, 5 * std::sqrt(2 / count)) << name;
  }
  const auto first = [&](uint64_t key) {
    return TrainedFactors(*model_, {"query"}, 3, 2, key, at::kCPU).factors().begin()->second.a;
  };
  EXPECT_TRUE(first(11).equal(factors_.factors().at("encoder.layer.0.attention.self.query.weight").a));
  EXPECT_FALSE(first(12).equal(first(11)));
}

TEST_F(Adapters, ComputeWhatTheModelDoesToWhichTheyAreAdded) {
  {
    const at::NoGradGuard in_place;
    for (const at::Tensor& tensor : factors_.trained()) {
      tensor.copy_(normal(5, stream_++, 0, tensor.numel()).view(tensor.sizes()) * 0.3);
    }
  }
  Weights merged = weights_;
  for (const auto& [name, of_matrix] : factors_.factors()) {
    merged.at(name) = weights_.at(name) + 2 * of_matrix.b.matmul(of_matrix.a);
  }
  const at::Tensor adapted = features(weights_, factors_.pass());
  EXPECT_TRUE(at::allclose(adapted, features(merged), 1e-4, 1e-5));
  EXPECT_GT((adapted - features(weights_)).abs().max().item<float>(), 0.1);
  EXPECT_TRUE(adapted.requires_grad());
}

}  // namespace
}  // namespace fusegrid::low_rank_training_test
