#include "models/readout.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "models/architecture.h"
#include "models/tanh_readout.h"

namespace fusegrid::readout_test {
namespace {

at::Tensor random(uint64_t key, const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t extent : shape) {
    count *= extent;
  }
  return normal(key, 0, 0, count).view(shape);
}

TEST(TanhReadout, ReadsWhatALayerOfItsOwnMakes) {
  const at::Tensor layer = random(4, {5, 4}), shift = random(5, {5}), weight = random(6, {3, 5});
  const auto head = affine_readout(weight, random(7, {3}), Pooling::kFirst);
  const auto readout = tanh_readout(layer, shift, head);
  const at::Tensor features = random(8, {2, 4});
  const at::Tensor hidden = (at::matmul(features, layer.t()) + shift).tanh();
  EXPECT_TRUE((*readout)({}, features).allclose((*head)({}, hidden), 1e-5, 1e-6));
  EXPECT_TRUE((*readout->to(at::kCPU))({}, features).equal((*readout)({}, features)));
  EXPECT_EQ(readout->pooling(), Pooling::kFirst);
  EXPECT_EQ(readout->features(), 4);
  EXPECT_EQ(readout->outputs(), 3);
  EXPECT_EQ(readout->weights().size(), 4U);
}

class OwnReadout : public testing::Test {
 protected:
  const std::shared_ptr<const Readout> readout_ = own_readout({"rows", 0.25}, 4, 7);
  const at::Tensor features_ = random(1, {2, 3, 4});
  const Weights model_{{"rows", random(2, {7, 4})}, {"others", random(3, {7, 4})}};
};

TEST_F(OwnReadout, MultipliesByATensorOfTheModel) {
  const at::Tensor logits = (*readout_)(model_, features_);
  EXPECT_EQ(logits.sizes().vec(), (std::vector<int64_t>{2, 3, 7}));
  EXPECT_TRUE(logits.allclose(at::matmul(features_, model_.at("rows").t()) / 4, 1e-5, 1e-6));
  const Weights another{{"rows", model_.at("others")}};
  EXPECT_TRUE((*readout_)(another, features_)
                  .allclose(at::matmul(features_, model_.at("others").t()) / 4, 1e-5, 1e-6));
}

TEST_F(OwnReadout, SaysWhatItReadsAndHasNoWeights) {
  EXPECT_EQ(readout_->pooling(), Pooling::kNone);
  EXPECT_EQ(readout_->features(), 4);
  EXPECT_EQ(readout_->outputs(), 7);
  EXPECT_TRUE(readout_->weights().empty());
  const auto moved = readout_->to(at::kCPU);
  EXPECT_TRUE((*moved)(model_, features_).equal((*readout_)(model_, features_)));
  EXPECT_EQ(moved->outputs(), 7);
}

// Tables of large vocabularies are not copied into a wider dtype.
TEST_F(OwnReadout, MultipliesInTheDtypeOfTheModelAndAnswersInFloat) {
  const at::Tensor half_rows = model_.at("rows").to(at::kBFloat16);
  const at::Tensor logits = (*readout_)({{"rows", half_rows}}, features_);
  EXPECT_EQ(logits.scalar_type(), at::kFloat);
  EXPECT_TRUE(logits.equal(at::linear(features_.to(at::kBFloat16) * 0.25, half_rows).to(at::kFloat)));
  const Weights wide{{"rows", model_.at("rows").to(at::kDouble)}};
  EXPECT_EQ((*readout_)(wide, features_.to(at::kDouble)).scalar_type(), at::kDouble);
}

}  // namespace
}  // namespace fusegrid::readout_test
