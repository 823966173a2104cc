#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "methods/planted.h"
#include "support/golden.h"

namespace fusegrid::cart_test {
namespace {

TEST(Cart, equals_its_definition) {
  expect_includes(golden_zoo().fuse("cart{rank=0.3,scale=0.9}").weights, read_golden("cart__rank03").tensors,
                  1e-6);
}

TEST(Cart, without_rank_or_scale_is_the_average) {
  const TestZoo zoo = random_zoo(3);
  const Weights average = zoo.fuse("simple_average").weights;
  EXPECT_EQ(digest(zoo.fuse("cart{rank=0}").weights), digest(average));
  EXPECT_EQ(digest(zoo.fuse("cart{scale=0}").weights), digest(average));
}

// What sets experts apart from their average sums to zero.
TEST(Cart, of_full_rank_is_the_average) {
  const TestZoo zoo = random_zoo(3);
  expect_close(zoo.fuse("cart{rank=1}").weights, zoo.fuse("simple_average").weights, 1e-6);
}

TEST(Cart, does_not_depend_on_the_base) {
  const TestZoo zoo = random_zoo(2);
  TestZoo other = zoo;
  other.base = perturbed(zoo.base, 1.0, 9);
  EXPECT_EQ(digest(zoo.fuse("cart").weights), digest(other.fuse("cart").weights));
}

}  // namespace
}  // namespace fusegrid::cart_test
