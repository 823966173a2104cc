#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::ema_test {
namespace {

TEST(Ema, is_its_recursion) {
  const TestZoo zoo = random_zoo(4);
  Weights moving = zoo.experts[0];
  for (auto& [name, tensor] : moving) {
    if (tensor.is_floating_point()) {
      for (size_t i = 1; i < zoo.experts.size(); ++i) {
        tensor = 0.7 * tensor + 0.3 * zoo.experts[i].at(name);
      }
    }
  }
  expect_close(zoo.fuse("ema{decay=0.7}").weights, moving, 3e-7);
}

TEST(Ema, without_decay_is_the_last_checkpoint_and_with_all_of_it_the_first) {
  const TestZoo zoo = random_zoo(3);
  EXPECT_EQ(digest(zoo.fuse("ema{decay=0}").weights), digest(zoo.experts[2]));
  EXPECT_EQ(digest(zoo.fuse("ema{decay=1}").weights), digest(zoo.experts[0]));
}

}  // namespace
}  // namespace fusegrid::ema_test
