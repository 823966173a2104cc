#include <gtest/gtest.h>

#include "support/test_zoo.h"

namespace fusegrid::passthrough_test {
namespace {

TEST(Passthrough, is_its_expert) {
  const TestZoo zoo = random_zoo(1);
  EXPECT_EQ(digest(zoo.fuse("passthrough").weights), digest(zoo.experts[0]));
}

}  // namespace
}  // namespace fusegrid::passthrough_test
