#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "fusion/fusion_input.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::pretrained_test {
namespace {

TEST(Pretrained, is_the_base) {
  const TestZoo zoo = random_zoo(2);
  EXPECT_EQ(digest(zoo.fuse("pretrained").weights), digest(zoo.base));
}

}  // namespace
}  // namespace fusegrid::pretrained_test
