#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <gtest/gtest.h>

#include "methods/planted.h"
#include "support/golden.h"

namespace fusegrid::actmat_test {
namespace {

TEST(ActMat, equals_its_definition) {
  expect_includes(golden_zoo().fuse("actmat{scale=0.8}").weights, read_golden("actmat__default").tensors,
                  1e-6);
}

// sum_i (tau - tau_i) tau_i^T tau_i = 0
TEST(ActMat, satisfies_its_normal_equations) {
  const std::vector<at::Tensor> taus{random_matrix(6, 9, 5), random_matrix(7, 9, 5)};
  const at::Tensor merged = matrix_zoo(taus).fuse("actmat").weights.at("fc.weight");
  at::Tensor left = at::zeros_like(merged);
  for (const at::Tensor& tau : taus) {
    left += at::matmul(at::matmul(merged - tau, tau.t()), tau);
  }
  expect_close(left, at::zeros_like(left), 2e-4);
}

TEST(ActMat, of_orthogonal_experts_is_their_sum) {
  const auto taus = orthogonal_taus(3, 6, 8);
  expect_close(matrix_zoo(taus).fuse("actmat").weights.at("fc.weight"), taus[0] + taus[1] + taus[2], 2e-6);
}

TEST(ActMat, of_equal_experts_is_that_expert) {
  const at::Tensor tau = random_matrix(6, 5, 7);
  expect_close(matrix_zoo({tau, tau}).fuse("actmat").weights.at("fc.weight"), tau, 2e-6);
}

}  // namespace
}  // namespace fusegrid::actmat_test
