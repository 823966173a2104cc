#include "models/architecture.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

namespace fusegrid::architecture_test {
namespace {

Layer convolution(const Convolution& how) {
  Layer layer{std::string("c")};
  layer.convolution = how;
  return layer;
}

TEST(Apply, AConvolutionSeesZerosAroundTheImage) {
  const Weights weights{{"c.weight", at::ones({1, 1, 3, 3})}, {"c.bias", at::tensor({0.5F})}};
  const at::Tensor image = at::tensor({1.0F, 2.0F, 3.0F, 4.0F}).view({1, 1, 2, 2});
  const at::Tensor y = apply(convolution({.padding = 1}), weights, image, {});
  EXPECT_TRUE(y.equal(at::ones({1, 1, 2, 2}) * 10.5));
}

TEST(Apply, AConvolutionIsNotFlipped) {
  at::Tensor left = at::zeros({1, 1, 3, 3});
  left[0][0][1][0] = 1;
  const at::Tensor image = at::tensor({1.0F, 2.0F, 3.0F, 4.0F}).view({1, 1, 2, 2});
  const at::Tensor y = apply(convolution({.padding = 1}), {{"c.weight", left}}, image, {});
  EXPECT_TRUE(y.flatten().equal(at::tensor({0.0F, 1.0F, 0.0F, 3.0F})));
}

TEST(Apply, AHookSeesWhatLiesUnderTheKernel) {
  for (const Convolution& how : {Convolution{}, Convolution{.stride = 2, .padding = 1},
                                 Convolution{.stride = 1, .padding = 2, .dilation = 2}}) {
    const Layer layer = convolution(how);
    const Weights weights{{"c.weight", at::randn({4, 2, 3, 3}, at::kDouble)},
                          {"c.bias", at::randn({4}, at::kDouble)}};
    const at::Tensor images = at::randn({3, 2, 7, 6}, at::kDouble);
    int64_t positions = 0;
    const auto hook = [&](const Layer& of, const at::Tensor& x, const at::Tensor& weight,
                          const at::Tensor& bias) {
      EXPECT_EQ(of.name, "c");
      EXPECT_EQ(weight.sizes().vec(), (std::vector<int64_t>{4, 18}));
      EXPECT_EQ(x.size(2), 18);
      positions = x.size(1);
      return at::linear(x, weight, bias);
    };

    const at::Tensor y = apply(layer, weights, images, {.layer = hook});

    const at::Tensor plain = apply(layer, weights, images, {});
    ASSERT_EQ(y.sizes().vec(), plain.sizes().vec());
    EXPECT_EQ(positions, plain.size(2) * plain.size(3));
    EXPECT_TRUE(y.allclose(plain, 1e-12, 1e-12));
  }
}

TEST(Show, HandsTheHookChannelsLast) {
  std::vector<int64_t> seen;
  const Pass pass{.seen = [&](const std::string& group, const at::Tensor& x) {
    EXPECT_EQ(group, "g");
    seen.push_back(x.size(-1));
  }};
  show(pass, "g", at::zeros({2, 5, 3, 3}));
  show(pass, "g", at::zeros({2, 7}));
  show({}, "g", at::zeros({2, 7}));
  EXPECT_EQ(seen, (std::vector<int64_t>{5, 7}));
}

TEST(Memory, HasAPartForEachOfSeveralModels) {
  Memory memory;
  Memory& second = memory.part(1);
  second.tokens = 3;
  second.tensors["keys"] = at::ones({2});
  EXPECT_EQ(memory.part(0).tokens, 0);
  EXPECT_TRUE(memory.part(0).tensors.empty());
  EXPECT_EQ(memory.tokens, 0);
  EXPECT_TRUE(memory.tensors.empty());
  memory.part(9);
  EXPECT_EQ(&memory.part(1), &second) << "parts stay where they are";
  EXPECT_EQ(memory.part(1).tokens, 3);
  EXPECT_NE(&memory.part(1), &memory.part(0));
}

TEST(Memory, AppendsRowsBehindThoseThatItHolds) {
  Memory memory;
  EXPECT_TRUE(memory.append("keys", at::ones({2, 1}, at::kLong)).equal(at::ones({2, 1}, at::kLong)));
  EXPECT_TRUE(memory.append("keys", at::zeros({2, 2}, at::kLong))
                  .equal(at::tensor({1, 0, 0, 1, 0, 0}, at::kLong).view({2, 3})));
  EXPECT_EQ(memory.tensors.at("keys").size(1), 3);
}

TEST(Memory, GoesOnFromRowsOfItInSeveralWays) {
  Memory memory;
  memory.tokens = 1;
  memory.append("keys", at::tensor({7, 8}).view({2, 1}));
  memory.part(1).append("values", at::tensor({5, 6}).view({2, 1}));
  memory.select(at::tensor({0, 1, 1}, at::kLong));
  EXPECT_TRUE(memory.tensors.at("keys").equal(at::tensor({7, 8, 8}).view({3, 1})));
  EXPECT_TRUE(memory.part(1).tensors.at("values").equal(at::tensor({5, 6, 6}).view({3, 1})));
  EXPECT_EQ(memory.tokens, 1);
}

}  // namespace
}  // namespace fusegrid::architecture_test
