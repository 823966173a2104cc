#include "metrics/frechet.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "core/philox.h"

namespace fusegrid::frechet_test {
namespace {

at::Tensor features(uint64_t key, int64_t rows = 40, int64_t columns = 3) {
  return normal(derive_key(key, "features"), 0, 0, rows * columns).view({rows, columns});
}

TEST(Frechet, IsZeroBetweenEqualSetsAndSymmetric) {
  const at::Tensor a = features(1), b = features(2, 25);
  EXPECT_NEAR(frechet_distance(a, a), 0, 1e-12);
  EXPECT_NEAR(frechet_distance(a, b), frechet_distance(b, a), 1e-12);
  EXPECT_GT(frechet_distance(a, b), 0.01);
}

TEST(Frechet, OfAShiftIsItsSquare) {
  const at::Tensor a = features(1);
  EXPECT_NEAR(frechet_distance(a, a + at::tensor({1.0, 2.0, -2.0})), 9, 1e-6);
}

// With independent columns of deviations s and t it is the sum of (s - t)^2: here each column is stretched.
TEST(Frechet, OfStretchedNumbersIsTheSquareOfTheDifferenceOfDeviations) {
  const at::Tensor column = at::tensor({-1.0, 1.0, -1.0, 1.0}), other = at::tensor({-1.0, -1.0, 1.0, 1.0});
  const at::Tensor a = at::stack({column, other}, 1);
  EXPECT_NEAR(frechet_distance(a, a * at::tensor({3.0, 0.5})), 4 + 0.25, 1e-12);
}

TEST(Frechet, OfOneRowEachIsTheirDistance) {
  EXPECT_NEAR(frechet_distance(at::tensor({0.0, 3.0}).view({1, 2}), at::tensor({4.0, 0.0}).view({1, 2})), 25,
              1e-12);
}

}  // namespace
}  // namespace fusegrid::frechet_test
