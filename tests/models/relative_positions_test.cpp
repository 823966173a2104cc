// Against transformers: tests/models/families/t5_test.cpp.
#include "models/relative_positions.h"

#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/isinf.h>
#include <ATen/ops/ones_like.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fusegrid::relative_positions_test {
namespace {

using testing::ElementsAre;

// Of a table that holds the numbers of its buckets, for one query.
std::vector<int64_t> buckets_of(const PositionBias& bias, int64_t query, int64_t keys) {
  const Weights weights{{"table", at::arange(8, at::kFloat).view({8, 1})}};
  const at::Tensor row = bias(weights, query, 1, keys);
  EXPECT_EQ(row.sizes().vec(), (std::vector<int64_t>{1, 1, 1, keys}));
  std::vector<int64_t> buckets;
  for (int64_t key = 0; key < keys; ++key) {
    buckets.push_back(row[0][0][0][key].item<int64_t>());
  }
  return buckets;
}

TEST(PositionBias, HasABucketOfEachNearDistanceAndLargerOnesOfFarther) {
  const PositionBias before("table", /*both_ways=*/false, {.count = 8, .max_distance = 16});
  EXPECT_THAT(buckets_of(before, 9, 12), ElementsAre(6, 6, 5, 5, 4, 4, 3, 2, 1, 0, 0, 0))
      << "keys behind the query count as itself";
  EXPECT_EQ(buckets_of(before, 40, 1).at(0), 7) << "farther than the largest distance";
  const PositionBias both("table", /*both_ways=*/true, {.count = 8, .max_distance = 16});
  EXPECT_THAT(buckets_of(both, 3, 7), ElementsAre(2, 2, 1, 0, 5, 6, 6));
}

TEST(PositionBias, RowsAreThoseOfEachQueryAlone) {
  const PositionBias bias("table", /*both_ways=*/true, {.count = 8, .max_distance = 16});
  const Weights weights{{"table", at::arange(16, at::kFloat).view({8, 2})}};
  const at::Tensor all = bias(weights, 0, 6, 6);
  EXPECT_TRUE(bias(weights, 4, 2, 6).equal(all.narrow(2, 4, 2)));
}

TEST(PositionBias, WhatIsNotSeenIsMaskedOut) {
  const at::Tensor bias = at::arange(4, at::kFloat).view({1, 1, 2, 2});
  const at::Tensor seen = at::ones_like(bias).tril().to(at::kBool);
  const at::Tensor result = masked(bias, seen);
  EXPECT_TRUE(result.isinf().equal(seen.logical_not()));
  EXPECT_TRUE(result.tril().equal(bias.tril()));
}

}  // namespace
}  // namespace fusegrid::relative_positions_test
