#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "fusion/fused_model.h"
#include "methods/planted.h"
#include "support/golden.h"

namespace fusegrid::tsv_c_test {
namespace {

TEST(TsvC, equals_fusion_bench) {
  expect_close(golden_zoo().fuse("tsv_c").weights, read_golden("tsv_c__default").tensors, 1.2e-7);
}

TEST(TsvC, of_low_rank_task_vectors_is_each_expert) {
  const auto taus = orthogonal_taus(3, 6, 8);  // rank 2 = 6 / 3
  const Merged merged = matrix_zoo(taus).fuse("tsv_c");
  for (size_t i = 0; i < 3; ++i) {
    expect_close(merged.weights.at("task" + std::to_string(i) + "/fc.weight"), taus[i], 1e-6);
  }
  EXPECT_DOUBLE_EQ(merged.stored_parameters, 6 * 8 + 3 * 2 * (6 + 8 + 1));
}

TEST(TsvC, keeps_all_or_nothing_of_the_matrices_at_its_ends) {
  const TestZoo zoo = random_zoo(2);
  const Merged all = zoo.fuse("tsv_c{fraction=1}");
  for (const auto& [name, tensor] : zoo.experts[1]) {
    expect_close(all.weights.at("task1/" + name), tensor, 1.2e-7);
  }
  const TestZoo pair = matrix_zoo(orthogonal_taus(2, 4, 5));
  const Merged none = pair.fuse("tsv_c{fraction=0.1}");
  expect_close(none.weights.at("task0/fc.weight"), pair.base.at("fc.weight"), 0);
}

}  // namespace
}  // namespace fusegrid::tsv_c_test
