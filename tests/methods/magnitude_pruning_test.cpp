#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "fusion/fused_model.h"
#include "methods/planted.h"
#include "support/golden.h"

namespace fusegrid::magnitude_pruning_test {
namespace {

TEST(MagnitudePruning, equals_fusion_bench) {
  expect_close(golden_zoo().fuse("magnitude_pruning{ratio=0.4}").weights,
               read_golden("magnitude_pruning__ratio04").tensors, 0);
}

TEST(MagnitudePruning, keeps_and_stores_what_it_says) {
  const TestZoo zoo = matrix_zoo({random_matrix(3, 4, 10)});
  const Merged merged = zoo.fuse("magnitude_pruning{ratio=0.35}");
  const at::Tensor weight = merged.weights.at("task0/fc.weight");
  EXPECT_TRUE((weight != 0).sum(1).eq(7).all().item<bool>());
  EXPECT_DOUBLE_EQ(merged.stored_parameters, 4 * 7 + 40.0 / 32);
  expect_close(zoo.fuse("magnitude_pruning{ratio=0}").weights.at("task0/fc.weight"),
               zoo.experts[0].at("fc.weight"), 0);
}

}  // namespace
}  // namespace fusegrid::magnitude_pruning_test
