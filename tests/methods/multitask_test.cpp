#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "fusion/fusion_input.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::multitask_test {
namespace {

TEST(Multitask, is_the_zoos_multitask_model) {
  TestZoo zoo = random_zoo(2);
  EXPECT_EQ(digest(zoo.fuse("multitask").weights), digest(zoo.multitask));
  zoo.multitask.clear();
  EXPECT_THROW(zoo.fuse("multitask"), ConfigError);
}

}  // namespace
}  // namespace fusegrid::multitask_test
