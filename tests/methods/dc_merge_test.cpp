#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "methods/planted.h"
#include "support/golden.h"

namespace fusegrid::dc_merge_test {
namespace {

TEST(DcMerge, equals_its_definition) {
  const TestZoo zoo = golden_zoo();
  for (const std::string smoothing : {"none", "average", "linear"}) {
    expect_includes(zoo.fuse("dc_merge{scale=0.8,density=0.1,smoothing=" + smoothing + "}").weights,
                    read_golden("dc_merge__" + smoothing).tensors, 2e-6);
  }
}

// Without overlap the cores are diagonal, each in its own block: their few entries are all that is kept.
TEST(DcMerge, of_orthogonal_experts_is_their_sum) {
  const auto taus = orthogonal_taus(3, 6, 8);
  expect_close(matrix_zoo(taus).fuse("dc_merge{density=0.06}").weights.at("fc.weight"),
               taus[0] + taus[1] + taus[2], 5e-6);
}

TEST(DcMerge, smooths_the_singular_values_of_a_task) {
  const auto taus = orthogonal_taus(1, 4, 6);  // 3 and 1
  const auto squares = [&](const std::string& smoothing) {
    return matrix_zoo(taus)
        .fuse("dc_merge{density=1,smoothing=" + smoothing + ",rho=2}")
        .weights.at("fc.weight")
        .square()
        .sum()
        .item<double>();
  };
  EXPECT_NEAR(squares("none"), 9 + 1, 1e-4);
  EXPECT_NEAR(squares("average"), 4 + 4, 1e-4);
  EXPECT_NEAR(squares("linear"), (64.0 + 16) / 9, 1e-4);  // 8/3 and 4/3
}

}  // namespace
}  // namespace fusegrid::dc_merge_test
