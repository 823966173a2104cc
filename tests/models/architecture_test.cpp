#include "models/architecture.h"

#include <ATen/ops/ones.h>
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

}  // namespace
}  // namespace fusegrid::architecture_test
