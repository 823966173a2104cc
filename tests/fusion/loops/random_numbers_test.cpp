#include "fusion/loops/random_numbers.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "core/philox.h"

namespace fusegrid {
namespace {

TEST(UniformOn, makes_the_numbers_of_uniform) {
  EXPECT_TRUE(uniform_on(at::kCPU, 7, 3, 5, 1001).equal(uniform(7, 3, 5, 1001)));
  EXPECT_EQ(uniform_on(at::kCPU, 7, 3, 5, 0).numel(), 0);
}

}  // namespace
}  // namespace fusegrid
