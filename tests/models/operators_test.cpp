#include "models/operators.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid::operators_test {
namespace {

std::vector<float> values_of(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kFloat).contiguous();
  return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
}

at::Tensor counted_to(int64_t count) {
  return at::arange(1, count + 1, at::kFloat);
}

TEST(Operators, ActivationsHaveTheirValues) {
  const auto of_one = [](const std::string& name) {
    return activate(parse_activation(name), at::tensor({1.0}, at::kDouble)).item<double>();
  };
  EXPECT_NEAR(of_one("gelu"), (1 + std::erf(std::sqrt(0.5))) / 2, 1e-12);
  EXPECT_NEAR(of_one("gelu_new"), (1 + std::tanh(std::sqrt(2 / M_PI) * 1.044715)) / 2, 1e-12);
  EXPECT_EQ(of_one("gelu_pytorch_tanh"), of_one("gelu_new"));
  EXPECT_NEAR(of_one("quick_gelu"), 1 / (1 + std::exp(-1.702)), 1e-12);
  EXPECT_EQ(of_one("relu"), 1);
  EXPECT_NEAR(of_one("silu"), 1 / (1 + std::exp(-1)), 1e-12);
  EXPECT_EQ(to_string(parse_activation("gelu_pytorch_tanh")), "gelu_new");
}

TEST(Operators, RmsNormDividesByTheRootOfTheMeanSquare) {
  const Weights weights{{"norm.weight", at::tensor({2.0, -3.0}, at::kDouble)}};
  const at::Tensor normed = RmsNorm("norm", 2, 0.5)(weights, at::tensor({3.0, 4.0}, at::kDouble));
  EXPECT_NEAR(normed[0].item<double>(), 6 / std::sqrt(13), 1e-15);
  EXPECT_NEAR(normed[1].item<double>(), -12 / std::sqrt(13), 1e-15);
}

TEST(Operators, RmsNormOfRoundedNumbersIsRoundedBeforeItIsScaled) {
  const at::Tensor x = (counted_to(64) / 7).to(at::kBFloat16);
  const at::Tensor scale = (counted_to(64) / 9).to(at::kBFloat16);
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor unit = (wide / (wide * wide).mean().sqrt()).to(at::kBFloat16);

  const at::Tensor normed = RmsNorm("norm", 64, 1e-12)({{"norm.weight", scale}}, x);

  EXPECT_EQ(normed.scalar_type(), at::kBFloat16);
  EXPECT_EQ(values_of(normed), values_of(unit * scale));
}

TEST(Operators, OneChannelOfAnImageIsTheMeanOfThree) {
  const at::Tensor image = counted_to(12).view({1, 3, 2, 2});
  EXPECT_EQ(values_of(channels_of(image, 3)), values_of(image));
  EXPECT_EQ(values_of(channels_of(image, 1)), (std::vector<float>{5, 6, 7, 8}));
  EXPECT_EQ(channels_of(image, 1).sizes().vec(), (std::vector<int64_t>{1, 1, 2, 2}));
}

TEST(Operators, HalvingTakesTheLargestOfFourAndLeavesAnOddRowOut) {
  EXPECT_EQ(values_of(halved_by_max(counted_to(25).view({1, 1, 5, 5}))), (std::vector<float>{7, 9, 17, 19}));
}

TEST(Operators, PoolingCountsTheTokensThatCount) {
  const at::Tensor x = counted_to(12).view({2, 3, 2});
  const at::Tensor lengths = at::tensor({2, 3}, at::kLong);
  EXPECT_EQ(values_of(pooled(x, lengths, Pooling::kFirst)), (std::vector<float>{1, 2, 7, 8}));
  EXPECT_EQ(values_of(pooled(x, lengths, Pooling::kLast)), (std::vector<float>{3, 4, 11, 12}));
  EXPECT_EQ(values_of(pooled(x, lengths, Pooling::kMean)), (std::vector<float>{2, 3, 9, 10}));
  EXPECT_TRUE(pooled(x, lengths, Pooling::kNone).equal(x));
  EXPECT_EQ(values_of(pooled(x, {}, Pooling::kLast)), (std::vector<float>{5, 6, 11, 12}));
  EXPECT_EQ(values_of(pooled(x, {}, Pooling::kMean)), (std::vector<float>{3, 4, 9, 10}));
}

TEST(Operators, AMaskedKeyIsNotLookedAt) {
  const at::Tensor value = counted_to(3).view({1, 3, 1});
  const at::Tensor zeros = value * 0;  // all keys are alike: the mean of the values
  const at::Tensor mask = (at::arange(3) < 2).view({1, 1, 1, 3});
  EXPECT_THAT(values_of(attention_of_heads(zeros, zeros, value, 1, mask)), testing::Each(1.5F));
  EXPECT_THAT(values_of(attention_of_heads(zeros, zeros, value, 1, {})), testing::Each(testing::FloatEq(2)));
}

TEST(Operators, ScoresOfAttentionHaveTheirScaleAndWhatIsAdded) {
  const at::Tensor query = at::tensor({2.0, 0.0, 0.0, 0.0}, at::kDouble).view({1, 1, 4});
  const at::Tensor key = at::tensor({1.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0}, at::kDouble).view({1, 2, 4});
  const at::Tensor value = at::tensor({0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0}, at::kDouble).view({1, 2, 4});
  const at::Tensor added = at::tensor({0.5, -1.0}, at::kDouble).view({1, 1, 1, 2});
  // of two keys the second has the weight 1 / (1 + exp(score of the first - that of the second))
  const auto weight = [&](const at::Tensor& mask, std::optional<double> scale) {
    return attention_of_heads(query, key, value, 1, mask, scale)[0][0][0].item<double>();
  };
  EXPECT_NEAR(weight({}, {}), 1 / (1 + std::exp(1.0 - 3.0)), 1e-12);
  EXPECT_NEAR(weight({}, 1.0), 1 / (1 + std::exp(2.0 - 6.0)), 1e-12);
  EXPECT_NEAR(weight(added, 1.0), 1 / (1 + std::exp(2.5 - 5.0)), 1e-12);
}

TEST(Operators, ParametersComeSortedByName) {
  ParameterList list;
  list.add(Layer("b"), {4, 3});
  list.add(LayerNorm("a", 2, 1e-5));
  list.add("c", {5});
  list.add(RmsNorm("d", 2, 1e-5));
  std::vector<std::string> names;
  for (const TensorInfo& info : list.sorted()) {
    names.push_back(info.name);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"a.bias", "a.weight", "b.bias", "b.weight", "c", "d.weight"}));
  EXPECT_EQ(list.sorted()[2].shape, std::vector<int64_t>{4});
}

}  // namespace
}  // namespace fusegrid::operators_test
