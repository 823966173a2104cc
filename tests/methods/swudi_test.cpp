#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <gtest/gtest.h>

#include "methods/planted.h"
#include "support/golden.h"

namespace fusegrid::swudi_test {
namespace {

TEST(Swudi, equals_its_definition) {
  const TestZoo zoo = golden_zoo();
  expect_includes(zoo.fuse("swudi{scale=0.8}").weights, read_golden("swudi__default").tensors, 1e-6);
  expect_includes(zoo.fuse("swudi{scale=0.8,time=3,rank=1}").weights, read_golden("swudi__soft").tensors,
                  1e-6);
}

TEST(Swudi, begins_at_the_sum_of_the_task_vectors) {
  const TestZoo zoo = matrix_zoo({random_matrix(6, 5, 7), random_matrix(7, 5, 7)});
  expect_close(zoo.fuse("swudi{time=0}").weights, zoo.fuse("task_arithmetic{scale=1}").weights, 1e-6);
}

// C = sum_i tau_i^T tau_i / |tau_i|^2 is regular here.
TEST(Swudi, ends_where_wudis_gradient_vanishes) {
  const std::vector<at::Tensor> taus{random_matrix(6, 9, 5), random_matrix(7, 9, 5)};
  const at::Tensor merged = matrix_zoo(taus).fuse("swudi{time=1000000,rank=1}").weights.at("fc.weight");
  at::Tensor gradient = at::zeros_like(merged);
  for (const at::Tensor& tau : taus) {
    gradient += at::matmul(at::matmul(merged - tau, tau.t()), tau) / tau.square().sum();
  }
  expect_close(gradient, at::zeros_like(gradient), 1e-5);
}

TEST(Swudi, leaves_out_an_expert_that_did_not_change_a_matrix) {
  const auto taus = orthogonal_taus(2, 4, 6);
  expect_close(matrix_zoo({taus[0], taus[0] * 0}).fuse("swudi").weights.at("fc.weight"), taus[0], 2e-6);
}

}  // namespace
}  // namespace fusegrid::swudi_test
