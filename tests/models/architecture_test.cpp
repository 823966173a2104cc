#include "models/architecture.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

namespace fusegrid::architecture_test {
namespace {

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
