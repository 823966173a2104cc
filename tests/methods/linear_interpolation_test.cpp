#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/line_zoo.h"
#include "support/test_zoo.h"

namespace fusegrid::linear_interpolation_test {
namespace {

TEST(LinearInterpolation, equals_fusion_bench) {
  expect_golden(golden_zoo().first(2), "linear_interpolation{t=0.3}", "linear_interpolation__t03", 1.2e-7);
}

TEST(LinearInterpolation, ends_at_its_ends) {
  const TestZoo zoo = random_zoo(2);
  EXPECT_EQ(digest(zoo.fuse("linear_interpolation{t=0}").weights), digest(zoo.experts[0]));
  EXPECT_EQ(digest(zoo.fuse("linear_interpolation{t=1}").weights), digest(zoo.experts[1]));
}

TEST(LinearInterpolation, is_a_weighted_average_and_in_the_middle_the_average) {
  const TestZoo zoo = random_zoo(2);
  expect_close(zoo.fuse("linear_interpolation{t=0.2}").weights,
               zoo.fuse("weighted_average{weights=4:1}").weights, 1.5e-7);
  expect_close(zoo.fuse("linear_interpolation{t=0.5}").weights, zoo.fuse("simple_average").weights, 1.5e-7);
}

}  // namespace
}  // namespace fusegrid::linear_interpolation_test
