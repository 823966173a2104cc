#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_svd.h>
#include <gtest/gtest.h>

#include "methods/planted.h"
#include "support/golden.h"

namespace fusegrid::iso_c_test {
namespace {

TEST(IsoC, equals_fusion_bench) {
  expect_close(golden_zoo().fuse("iso_c{scale=1.5}").weights, read_golden("iso_c__default").tensors, 1.2e-7);
}

TEST(IsoC, flattens_the_spectrum_of_the_sum_and_keeps_its_mean) {
  const std::vector<at::Tensor> taus{random_matrix(3, 6, 8), random_matrix(4, 6, 8)};
  const at::Tensor merged = matrix_zoo(taus).fuse("iso_c").weights.at("fc.weight");
  const at::Tensor s = std::get<1>(at::linalg_svd(merged, false));
  const at::Tensor of_sum = std::get<1>(at::linalg_svd(taus[0] + taus[1], false));
  expect_close(s, of_sum.mean().expand_as(s), 2e-6);
}

// Directions that no expert has stay empty: 4 of 6 are planted, all of strength 2, so their level is 2 * 4 / 6.
TEST(IsoC, does_not_raise_directions_that_are_rounding) {
  const auto taus = orthogonal_taus(2, 6, 8);
  const at::Tensor merged = matrix_zoo(taus).fuse("iso_c").weights.at("fc.weight");
  const at::Tensor s = std::get<1>(at::linalg_svd(merged, false));
  const double level = (3.0 + 1.0) * 2 / 6;
  expect_close(s, at::tensor({level, level, level, level, 0.0, 0.0}), 2e-6);
}

TEST(IsoC, of_a_sweep_of_scales_lies_on_a_line) {
  const TestZoo zoo = random_zoo(3);
  const Weights one = zoo.fuse("iso_c{scale=1}").weights;
  const Weights two = zoo.fuse("iso_c{scale=2}").weights;
  for (const auto& [name, tensor] : zoo.base) {
    if (tensor.is_floating_point()) {
      expect_close(two.at(name) - one.at(name), one.at(name) - tensor, 5e-7);
    }
  }
}

}  // namespace
}  // namespace fusegrid::iso_c_test
