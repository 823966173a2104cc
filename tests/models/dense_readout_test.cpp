#include "models/dense_readout.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "support/map_golden.h"

namespace fusegrid::dense_readout_test {
namespace {

double max_error(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b).abs().max().item<double>();
}

const MapSizes kSizes{{3, 3}, {12, 12}};

class DenseReadoutGolden : public testing::Test {
 protected:
  DenseReadoutGolden() {
    for (const auto& [name, tensor] : golden_.at("tensors").items()) {
      decoder_[name] = tensor_of(tensor).to(at::kFloat);
    }
    decoder_.at("weight") = decoder_.at("weight").flatten(1);  // the golden one is a kernel of 1 x 1
  }
  const nlohmann::json golden_ = dense_golden().at("decoder");
  const at::Tensor features_ = tensor_of(golden_.at("features")).to(at::kFloat);
  Weights decoder_;
};

TEST_F(DenseReadoutGolden, agrees_with_the_golden_values) {
  const auto readout = dense_readout(decoder_, kSizes);
  EXPECT_EQ(readout->pooling(), Pooling::kNone);
  EXPECT_EQ(readout->features(), 3);
  EXPECT_EQ(readout->outputs(), 2);
  const at::Tensor map = (*readout)({}, features_);
  EXPECT_EQ(map.sizes(), (std::vector<int64_t>{2, 12, 12, 2}));
  EXPECT_LE(max_error(map, tensor_of(golden_.at("output"))), 2e-5);
  const at::Tensor of_half = (*readout)({}, features_.to(at::kBFloat16));  // eighths, which it holds exactly
  EXPECT_EQ(of_half.scalar_type(), at::kFloat);
  EXPECT_TRUE(of_half.equal(map));
}

TEST_F(DenseReadoutGolden, takes_the_statistics_of_a_batch_where_it_is_asked_to) {
  std::vector<std::string> told;
  const Pass pass{
      .batch_statistics = [&](const std::string& norm, const at::Tensor& mean, const at::Tensor& variance) {
        told.push_back(norm);
        EXPECT_LE(max_error(mean, tensor_of(golden_.at("batch_mean"))), 1e-5);
        EXPECT_LE(max_error(variance, tensor_of(golden_.at("batch_variance"))), 1e-5);
      }};
  EXPECT_LE(max_error(decoded(decoder_, features_, kSizes, pass), tensor_of(golden_.at("of_batch"))), 2e-5);
  EXPECT_THAT(told, testing::ElementsAre("norm"));
}

// The golden statistics are those of both images: one batch of two, or the mean over two batches of the same.
TEST_F(DenseReadoutGolden, its_statistics_are_made_anew) {
  for (const size_t batches : {1, 2}) {
    const auto anew =
        dense_readout(decoder_, kSizes)->re_estimated(std::vector<at::Tensor>(batches, features_));
    const Weights seen = anew->weights();
    EXPECT_LE(max_error(seen.at("norm.running_mean"), tensor_of(golden_.at("batch_mean"))), 1e-5);
    EXPECT_LE(max_error(seen.at("norm.running_var"), tensor_of(golden_.at("batch_variance"))), 1e-5);
    EXPECT_TRUE(seen.at("conv.weight").equal(decoder_.at("conv.weight")));
    EXPECT_EQ(seen.at("norm.running_var").scalar_type(), at::kFloat);
  }
  EXPECT_EQ(affine_readout(at::zeros({2, 3}), at::zeros({2}), Pooling::kMean)->re_estimated({features_}),
            nullptr);
}

TEST_F(DenseReadoutGolden, reads_features_that_were_mapped) {
  const at::Tensor map = at::tensor({0.0F, 1.0F, 0.0F, 0.5F, 0.0F, 0.0F, 0.0F, 0.0F, 1.0F, 0.5F, 0.0F, 0.0F})
                             .view({3, 4});  // of four features
  const at::Tensor wider = normal(8, 0, 0, 2 * 9 * 4).view({2, 9, 4});
  const auto readout = dense_readout(decoder_, kSizes);
  const auto mapped = readout->of_mapped_features(map);
  EXPECT_EQ(mapped->features(), 4);
  EXPECT_LE(max_error((*mapped)({}, wider), (*readout)({}, at::matmul(wider, map.t())).to(at::kDouble)),
            1e-5);
}

// Of one feature, which it hands on where it is positive.
Weights identity() {
  Weights decoder;
  for (const TensorInfo& info : decoder_parameters(1, 1, 1)) {
    decoder.emplace(info.name, at::full(info.shape, info.name.ends_with("running_var") ? 1.0 : 0.0));
  }
  decoder.at("conv.weight")[0][0][1][1] = 1;
  decoder.at("norm.weight").fill_(std::sqrt(1 + 1e-5));
  decoder.at("weight").fill_(1);
  return decoder;
}

TEST(DenseReadout, makes_maps_that_are_not_square) {
  const at::Tensor features = at::tensor({0.0F, 1.0F, 2.0F}).view({1, 3, 1});
  const at::Tensor flat = decoded(identity(), features, {{1, 3}, {2, 6}});
  EXPECT_EQ(flat.sizes(), (std::vector<int64_t>{1, 2, 6, 1}));
  const at::Tensor row = at::tensor({0.0F, 0.25F, 0.75F, 1.25F, 1.75F, 2.0F});
  EXPECT_LE(max_error(flat[0][0].flatten(), row), 1e-6);
  EXPECT_LE(max_error(flat[0][1].flatten(), row), 1e-6);
  const at::Tensor upright = decoded(identity(), features, {{3, 1}, {6, 2}});
  EXPECT_TRUE(upright.transpose(1, 2).equal(flat));
}

TEST(DenseReadout, interpolates_to_any_size) {
  const Weights decoder = identity();
  const at::Tensor features = at::tensor({0.0F, 1.0F, 2.0F, 3.0F}).view({1, 4, 1});
  const at::Tensor same = decoded(decoder, features, {{2, 2}, {2, 2}}).flatten();
  EXPECT_LE(max_error(same, features.flatten()), 1e-6) << "of the size of the map";
  const at::Tensor wide = decoded(decoder, features, {{2, 2}, {3, 3}}).flatten();
  EXPECT_NEAR(wide[0].item<float>(), 0, 1e-6) << "edges go on as they are";
  EXPECT_NEAR(wide[4].item<float>(), 1.5, 1e-6) << "the middle is the mean";
  EXPECT_NEAR(wide[8].item<float>(), 3, 1e-6);
}

}  // namespace
}  // namespace fusegrid::dense_readout_test
