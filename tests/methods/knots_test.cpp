#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "fusion/fusion_input.h"
#include "fusion/subspaces/svd.h"
#include "methods/planted.h"
#include "support/golden.h"

namespace fusegrid::knots_test {
namespace {

TEST(Knots, equals_the_definition_on_fusion_benchs_basis) {
  const TestZoo zoo = golden_zoo();
  expect_close(zoo.fuse("knots{scale=0.3,density=0.2,merge=sum}").weights, read_golden("knots__sum").tensors,
               1.2e-7);
  expect_close(zoo.fuse("knots{scale=0.3,density=0.5,merge=mean}").weights,
               read_golden("knots__mean").tensors, 1.2e-7);
}

TEST(Knots, of_equal_experts_without_trimming_is_that_expert) {
  TestZoo zoo = random_zoo(3);
  zoo.experts = {zoo.experts[0], zoo.experts[0], zoo.experts[0]};
  expect_close(zoo.fuse("knots{scale=1,density=1,merge=mean}").weights, zoo.experts[0], 2.4e-7);
}

TEST(Knots, of_adapters_is_that_of_the_dense_models_up_to_rounding) {
  const auto experts = low_rank_experts(3, 2, 12, 16);
  for (const std::string call : {"knots{scale=1,density=1}", "knots{scale=1,density=0.4,merge=sum}"}) {
    expect_close(low_rank_merge(low_rank_zoo(experts, true), call),
                 low_rank_merge(low_rank_zoo(experts, false), call), 1e-5);
  }
}

// On weights of 1 a change of 1e-9 is lost in rounding, but not in factors.
TEST(Knots, sees_the_factors_of_adapters_and_not_their_rounded_weights) {
  auto experts = low_rank_experts(2, 2, 12, 16);
  for (LowRankExpert& expert : experts) {
    expert.scale = 1e-9;
  }
  Weights seen;
  low_rank_zoo(experts, true).with_needs({Need::kPretrained}, [&](const FusionInput& in) {
    seen = in.map_tensors([&](const Slice& slice) { return exact_task_vector(slice, 1) * 1e9; });
  });
  expect_close(seen.at("fc.weight"), (experts[1].tau() * 1e9).to(at::kFloat), 1e-6);
}

// Experts in orthogonal output directions never disagree in the common basis, though they do entry by entry.
TEST(Knots, sums_experts_of_orthogonal_outputs_exactly) {
  const auto taus = orthogonal_taus(3, 6, 8);
  const TestZoo zoo = matrix_zoo(taus);
  const at::Tensor sum = taus[0] + taus[1] + taus[2];
  // equal singular values of different experts leave the basis open within their span: set them apart
  TestZoo scaled = matrix_zoo({taus[0], taus[1] * 1.7, taus[2] * 0.6});
  expect_close(scaled.fuse("knots{scale=1,density=1,merge=sum}").weights.at("fc.weight"),
               taus[0] + taus[1] * 1.7 + taus[2] * 0.6, 2e-6);
  const at::Tensor entrywise = zoo.fuse("ties{scale=1,density=1}").weights.at("fc.weight");
  EXPECT_GT((entrywise - sum).abs().max().item<double>(), 0.1);
}

}  // namespace
}  // namespace fusegrid::knots_test
