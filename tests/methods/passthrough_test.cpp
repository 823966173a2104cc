#include <gtest/gtest.h>

#include "support/test_zoo.h"

namespace fusegrid::passthrough_test {
namespace {

TEST(Passthrough, is_its_expert) {
  const TestZoo zoo = random_zoo(1);
  EXPECT_EQ(digest(zoo.fuse("passthrough").weights), digest(zoo.experts[0]));
}

TEST(Passthrough, may_have_a_factor) {
  const TestZoo zoo = random_zoo(1);
  Weights half = zoo.experts[0];
  for (auto& [name, tensor] : half) {
    tensor = tensor.is_floating_point() ? tensor * 0.5 : tensor;
  }
  EXPECT_EQ(digest(zoo.fuse("passthrough{scale=0.5}").weights), digest(half));
}

}  // namespace
}  // namespace fusegrid::passthrough_test
