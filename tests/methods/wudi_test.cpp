#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <gtest/gtest.h>

#include "methods/planted.h"
#include "support/golden.h"

namespace fusegrid::wudi_test {
namespace {

double interference(const at::Tensor& merged, const std::vector<at::Tensor>& taus) {
  double sum = 0;
  for (const at::Tensor& tau : taus) {
    const at::Tensor product = at::matmul(merged - tau, tau.t());
    sum += (product.square().sum() / tau.square().sum()).item<double>();
  }
  return sum;
}

TEST(Wudi, equals_fusion_bench) {
  const TestZoo zoo = golden_zoo();
  expect_close(zoo.fuse("wudi{steps=30}").weights, read_golden("wudi__steps30").tensors, 1.2e-7);
  expect_close(zoo.fuse("wudi{steps=400}").weights, read_golden("wudi__steps400").tensors, 1.2e-7);
}

TEST(Wudi, lowers_the_interference_of_the_sum) {
  const std::vector<at::Tensor> taus{random_matrix(6, 5, 7), random_matrix(7, 5, 7), random_matrix(8, 5, 7)};
  const TestZoo zoo = matrix_zoo(taus);
  const auto after = [&](const std::string& steps) {
    return interference(zoo.fuse("wudi{lr=0.01,steps=" + steps + "}").weights.at("fc.weight"), taus);
  };
  EXPECT_LT(after("300"), 0.2 * after("0"));
}

TEST(Wudi, of_orthogonal_experts_stays_at_their_sum_without_interference) {
  const auto taus = orthogonal_taus(3, 6, 8);
  const at::Tensor merged = matrix_zoo(taus).fuse("wudi{lr=0.01,steps=20}").weights.at("fc.weight");
  expect_close(merged, taus[0] + taus[1] + taus[2],
               1e-2);  // Adam answers rounding with small steps; 0.2 without orthogonality
  EXPECT_LT(interference(merged, taus), 1e-3);
}

TEST(Wudi, leaves_out_an_expert_that_did_not_change_a_matrix) {
  const auto taus = orthogonal_taus(2, 4, 6);
  const Weights merged = matrix_zoo({taus[0], taus[0] * 0}).fuse("wudi{steps=3}").weights;
  expect_close(merged.at("fc.weight"), taus[0], 1e-4);
}

}  // namespace
}  // namespace fusegrid::wudi_test
