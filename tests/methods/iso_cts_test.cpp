#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_svd.h>
#include <gtest/gtest.h>

#include "methods/planted.h"
#include "support/golden.h"

namespace fusegrid::iso_cts_test {
namespace {

TEST(IsoCts, equals_fusion_bench) {
  const TestZoo zoo = golden_zoo();
  expect_close(zoo.fuse("iso_cts{common=0.5}").weights, read_golden("iso_cts__common05").tensors, 1.2e-7);
  expect_close(zoo.fuse("iso_cts{common=0.8,scale=1.5}").weights, read_golden("iso_cts__common08").tensors,
               1.2e-7);
}

TEST(IsoCts, of_common_directions_alone_is_iso_c) {
  const TestZoo zoo = random_zoo(3);
  expect_close(zoo.fuse("iso_cts{common=1}").weights, zoo.fuse("iso_c").weights, 5e-7);
}

// Three experts of rank 2 fill 6 directions, of which each task brings its own two: all equally strong.
TEST(IsoCts, of_orthogonal_experts_is_their_flattened_sum) {
  const auto taus = orthogonal_taus(3, 6, 8);
  const at::Tensor merged = matrix_zoo(taus).fuse("iso_cts{common=0}").weights.at("fc.weight");
  const at::Tensor s = std::get<1>(at::linalg_svd(merged, false));
  expect_close(s, at::tensor({2.0, 2.0, 2.0, 2.0, 2.0, 2.0}), 2e-6);
  expect_close(matrix_zoo(taus).fuse("iso_c").weights.at("fc.weight"), merged, 2e-6);
}

}  // namespace
}  // namespace fusegrid::iso_cts_test
