#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "fusion/fusion_input.h"
#include "models/network.h"
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

TEST(Multitask, brings_the_readouts_that_it_was_trained_with) {
  TestZoo zoo = random_zoo(2);
  EXPECT_TRUE(zoo.fuse("multitask").model->readouts.empty());
  zoo.multitask_readouts = {{"task1", zoo.network->readouts.at("task0")}};
  EXPECT_EQ(zoo.fuse("multitask").model->readouts, zoo.multitask_readouts);
}

}  // namespace
}  // namespace fusegrid::multitask_test
