#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_svd.h>
#include <gtest/gtest.h>

#include "fusion/fusion_input.h"
#include "methods/planted.h"
#include "support/golden.h"

namespace fusegrid::tsv_m_test {
namespace {

TEST(TsvM, equals_fusion_bench) {
  expect_close(golden_zoo().fuse("tsv_m{scale=0.8}").weights, read_golden("tsv_m__default").tensors, 1.2e-7);
}

TEST(TsvM, recovers_orthogonal_task_vectors_exactly) {
  const auto taus = orthogonal_taus(3, 6, 8);
  const Weights merged = matrix_zoo(taus).fuse("tsv_m").weights;
  expect_close(merged.at("fc.weight"), taus[0] + taus[1] + taus[2], 1e-6);
}

TEST(TsvM, of_one_expert_is_that_expert) {
  const TestZoo zoo = random_zoo(1);
  expect_close(zoo.fuse("tsv_m").weights, zoo.experts[0], 1.2e-7);
}

// The directions of equal experts depend on each other: they are shared, not turned.
TEST(TsvM, of_equal_experts_is_the_leading_part_of_that_expert) {
  const at::Tensor tau = orthogonal_taus(1, 4, 5)[0];
  const Weights merged = matrix_zoo({tau, tau}).fuse("tsv_m").weights;
  expect_close(merged.at("fc.weight"), tau, 1e-6);
}

// The shares of 3 experts have room for 4 directions each, but these have two: what rounding adds to dense weights
// takes no part.
TEST(TsvM, takes_no_more_directions_than_a_low_rank_task_vector_has) {
  const auto experts = low_rank_experts(3, 2, 12, 16);
  const at::Tensor merged = low_rank_merge(low_rank_zoo(experts, true), "tsv_m");
  const at::Tensor s = std::get<1>(at::linalg_svd(merged.to(at::kDouble), false));
  EXPECT_GT((s[5] / s[0]).item<double>(), 1e-2);
  EXPECT_LT((s[6] / s[0]).item<double>(), 1e-6);
  expect_close(low_rank_merge(low_rank_zoo(experts, false), "tsv_m"), merged, 1e-5);
}

// Every subspace method with any parameters: one decomposition per expert and matrix.
TEST(TsvM, shares_decompositions_with_its_relatives_and_a_direction_with_a_sweep) {
  const TestZoo zoo = random_zoo(2);
  for (const std::string call :
       {"tsv_m{scale=0.5}", "tsv_m{scale=1}", "tsv_c", "tsv_c{fraction=0.3}", "smile{rank=2}",
        "smile{rank=4}", "doge_ta{steps=1}", "doge_ta{scale=1,steps=1}"}) {
    zoo.fuse(call);
  }
  expect_one_decomposition_per_expert_and_matrix(zoo);
}

}  // namespace
}  // namespace fusegrid::tsv_m_test
