#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "fusion/fused_model.h"
#include "methods/planted.h"
#include "support/golden.h"

namespace fusegrid::magnitude_diff_pruning_test {
namespace {

TEST(MagnitudeDiffPruning, equals_fusion_bench) {
  expect_close(golden_zoo().fuse("magnitude_diff_pruning{ratio=0.4}").weights,
               read_golden("magnitude_diff_pruning__ratio04").tensors, 1e-9);
}

TEST(MagnitudeDiffPruning, of_smallest_and_largest_halves_add_up_to_the_expert) {
  const TestZoo zoo = matrix_zoo({random_matrix(3, 4, 10)});
  const auto tau = [&](const std::string& options) {
    return zoo.fuse("magnitude_diff_pruning{" + options + "}").weights.at("task0/fc.weight");
  };
  expect_close(tau("ratio=0.5,drop=smallest") + tau("ratio=0.5,drop=largest"), zoo.experts[0].at("fc.weight"),
               0);
  expect_close(tau("ratio=0.5,rescale=true"), tau("ratio=0.5") * 2, 1e-6);
  EXPECT_DOUBLE_EQ(zoo.fuse("magnitude_diff_pruning{ratio=0.5}").stored_parameters, 40 + 20 + 40.0 / 32);
}

}  // namespace
}  // namespace fusegrid::magnitude_diff_pruning_test
