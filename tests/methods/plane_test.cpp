#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::plane_test {
namespace {

TEST(Plane, has_its_models_at_the_corners) {
  const TestZoo zoo = random_zoo(3);
  EXPECT_EQ(digest(zoo.fuse("plane{u=0,v=0}").weights), digest(zoo.experts[0]));
  EXPECT_EQ(digest(zoo.fuse("plane{u=1,v=0}").weights), digest(zoo.experts[1]));
  EXPECT_EQ(digest(zoo.fuse("plane{u=0,v=1}").weights), digest(zoo.experts[2]));
}

TEST(Plane, has_their_average_in_the_middle_and_their_lines_at_its_edges) {
  const TestZoo zoo = random_zoo(3);
  expect_close(zoo.fuse("plane").weights, zoo.fuse("simple_average").weights, 2e-7);
  expect_close(zoo.fuse("plane{u=0.3,v=0}").weights, zoo.first(2).fuse("linear_interpolation{t=0.3}").weights,
               1e-7);
}

}  // namespace
}  // namespace fusegrid::plane_test
