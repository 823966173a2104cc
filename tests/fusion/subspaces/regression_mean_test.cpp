#include "fusion/subspaces/regression_mean.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "support/golden.h"

namespace fusegrid::regression_mean_test {
namespace {

TEST(SolveSemidefinite, solves_what_is_definite) {
  const at::Tensor a = normal(1, 0, 0, 20).view({5, 4}).to(at::kDouble);
  const at::Tensor gram = at::matmul(a.t(), a);
  const at::Tensor x = normal(2, 0, 0, 12).view({4, 3}).to(at::kDouble);
  expect_close(solve_semidefinite(gram, at::matmul(gram, x)), x, 1e-11);
}

// Cholesky's decomposition fails there: a negative pivot.
TEST(SolveSemidefinite, of_a_singular_matrix_has_no_part_where_it_is_blind) {
  const at::Tensor matrix =
      at::tensor({4.0, 2.0, 0.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0}, at::kDouble).view({3, 3});
  const at::Tensor x = at::tensor({2.0, 1.0, 0.0}, at::kDouble).view({3, 1});
  expect_close(solve_semidefinite(matrix, at::matmul(matrix, x)), x, 1e-14);
}

}  // namespace
}  // namespace fusegrid::regression_mean_test
