#include "fusion/passes/sign_election.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "support/line_zoo.h"

namespace fusegrid {
namespace {

TEST(MergeWeighted, sums_or_averages_everything_without_election) {
  const std::vector<at::Tensor> vectors{at::tensor({1.0F, -2.0F}), at::tensor({3.0F, 4.0F})};
  expect_line(merge_weighted(vectors, {1, 0.5}, false, "sum"), {2.5, 0});
  expect_line(merge_weighted(vectors, {1, 0.5}, false, "mean"), {2.5 / 1.5, 0});
  expect_line(merge_weighted(vectors, {1, -1}, false, "mean"),
              {-2, -6});  // weights without a sum: not divided
}

TEST(MergeWeighted, elects_by_the_weighted_sum_and_counts_zero_as_positive) {
  const std::vector<at::Tensor> vectors{at::tensor({1.0F, -2.0F, 2.0F}), at::tensor({-3.0F, -4.0F, -2.0F})};
  expect_line(merge_weighted(vectors, {1, 1}, true, "sum"), {-3, -6, 2});
  expect_line(merge_weighted(vectors, {4, 1}, true, "sum"), {4, -12, 8});
  expect_line(merge_weighted(vectors, {4, 1}, true, "mean"), {1, -12.0 / 5, 2});
}

TEST(MergeElected, takes_the_sign_of_the_majority_where_the_sum_is_zero) {
  const std::vector<at::Tensor> vectors{at::tensor({1.0F, 2.0F}), at::tensor({-1.0F, 3.0F})};
  expect_line(merge_elected(views(vectors), {.thresholds = {0, 0}, .majority = 1}, "sum"), {1, 5});
  expect_line(merge_elected(views(vectors), {.thresholds = {0, 0}, .majority = 0}, "sum"), {-1, 5});
  expect_line(merge_elected(views(vectors), {.thresholds = {0, 0}, .majority = -1}, "max"), {-1, 3});
  expect_line(merge_elected(views(vectors), {.thresholds = {1.5F, 0}, .majority = 1}, "mean"), {-1, 2.5});
}

TEST(TrimAndElect, makes_its_passes_once_per_key_and_density) {
  const TestZoo zoo = line_zoo({{1, -2, 3, 4}, {-5, 6, 7, -8}});
  const auto vectors = [](const Slice& slice) { return slice.task_vector_views(); };
  for (int cell = 0; cell < 3; ++cell) {
    zoo.with_needs({Need::kPretrained}, [&](const FusionInput& in) {
      const TrimmedElection election = trim_and_elect(in, "task_vectors", {0.5, 0.5}, vectors);
      EXPECT_EQ(election.thresholds, (std::vector<float>{2, 6}));  // int(4 / 2) + 1 entries stay
      EXPECT_EQ(election.majority, 1);                             // signs of 0, -2 + 6, 3 + 7, 4 - 8
    });
  }
  EXPECT_EQ(zoo.cache->computed().size(), 2U);
  for (const auto& [key, count] : zoo.cache->computed()) {
    EXPECT_EQ(count, 1) << key;
  }
}

}  // namespace
}  // namespace fusegrid
