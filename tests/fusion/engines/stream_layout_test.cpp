#include "fusion/engines/stream_layout.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace fusegrid::stream_layout_test {
namespace {

constexpr int64_t kBlock = 100;

std::vector<TensorInfo> tensors() {
  return {{"a", {1050}, at::kFloat},
          {"b", {1}, at::kFloat},
          {"c", {0, 3}, at::kFloat},
          {"d", {20, 30}, at::kFloat},
          {"e", {99}, at::kFloat}};
}

class StreamLayoutTest : public testing::TestWithParam<int> {
 protected:
  StreamLayout layout() const { return {tensors(), {{3, 0}, {1, 2, 4}}, GetParam(), kBlock}; }
};

TEST_P(StreamLayoutTest, gives_every_block_to_one_rank_in_the_order_of_the_stage) {
  const StreamLayout all = layout();
  std::vector<int64_t> next(tensors().size(), 0);
  std::vector<size_t> order;
  for (size_t stage = 0; stage < all.num_stages(); ++stage) {
    for (int rank = 0; rank < GetParam(); ++rank) {
      for (const StreamRange& range : all.elements(stage, rank)) {
        EXPECT_EQ(range.begin, next[range.tensor]);
        EXPECT_EQ(range.begin % kBlock, 0);
        next[range.tensor] += range.count;
        EXPECT_EQ(all.is_whole(range), range.count == tensors()[range.tensor].numel());
        if (order.empty() || order.back() != range.tensor) {
          order.push_back(range.tensor);
        }
      }
    }
  }
  EXPECT_EQ(next, (std::vector<int64_t>{1050, 1, 0, 600, 99}));
  EXPECT_EQ(order, (std::vector<size_t>{3, 0, 1, 4}));
}

TEST_P(StreamLayoutTest, ranks_have_equal_shares_to_a_block) {
  const StreamLayout all = layout();
  for (int rank = 0; rank < GetParam(); ++rank) {
    int64_t share = 0;
    for (const StreamRange& range : all.elements(0, rank)) {
      share += range.count;
    }
    EXPECT_LE(std::abs(share - 1650 / GetParam()), kBlock) << "rank " << rank;
  }
}

TEST_P(StreamLayoutTest, whole_tensors_go_to_one_rank_the_longest_first) {
  const StreamLayout all = layout();
  std::vector<size_t> seen;
  for (size_t stage = 0; stage < all.num_stages(); ++stage) {
    for (int rank = 0; rank < GetParam(); ++rank) {
      const auto& mine = all.whole(stage, rank);
      seen.insert(seen.end(), mine.begin(), mine.end());
    }
  }
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, (std::vector<size_t>{0, 1, 3, 4}));  // one without elements is nobody's
  EXPECT_EQ(all.whole(0, 0).front(), 0U);
}

// A stage for each tensor.
StreamLayout one_by_one(const std::vector<int64_t>& lengths, int ranks) {
  std::vector<TensorInfo> tensors;
  std::vector<std::vector<size_t>> stages;
  for (const int64_t length : lengths) {
    stages.push_back({tensors.size()});
    tensors.push_back({"t" + std::to_string(tensors.size()), {length}, at::kFloat});
  }
  return {tensors, stages, ranks, kBlock};
}

TEST(StreamLayout, stages_of_one_tensor_go_to_ranks_in_turn) {
  const StreamLayout layout = one_by_one({70, 60, 50, 40}, 2);
  for (size_t stage = 0; stage < 4; ++stage) {
    const int rank = stage == 1 || stage == 2 ? 1 : 0;  // 70 + 40 and 60 + 50
    EXPECT_EQ(layout.whole(stage, rank), std::vector<size_t>{stage});
    EXPECT_TRUE(layout.whole(stage, 1 - rank).empty());
  }
}

TEST(StreamWaves, are_few_stages_a_rank_and_not_too_large) {
  constexpr int64_t kLong = int64_t{1} << 29;
  const std::vector<int64_t> lengths{10, 10, 10, 10, 10, 10, 10, 10, 10, kLong, kLong, kLong};
  using Waves = std::vector<std::vector<size_t>>;
  const StreamLayout one = one_by_one(lengths, 1);
  EXPECT_EQ(one.waves({0, 1, 2, 3, 4, 5, 6, 7, 8}), (Waves{{0, 1, 2, 3, 4, 5, 6, 7}, {8}}));
  EXPECT_EQ(one.waves({8, 9, 10, 11}), (Waves{{8, 9}, {10, 11}}));
  EXPECT_EQ(one.waves({}), Waves{});
  const StreamLayout two = one_by_one(lengths, 2);
  EXPECT_EQ(two.waves({0, 1, 2, 3, 4, 5, 6, 7, 8}), (Waves{{0, 1, 2, 3, 4, 5, 6, 7, 8}}));
  EXPECT_EQ(two.waves({8, 9, 10, 11}), (Waves{{8, 9, 10, 11}}));
}

TEST(StreamWaves, take_one_piece_of_each_stage_in_turn) {
  const StreamRange a{0, 0, 5}, a_more{0, 5, 5}, b{1, 0, 7}, c{2, 0, 9}, d{3, 0, 1};
  const auto ranges = taken_in_turn({{{a, a_more}, {d}}, {{b}}, {}, {{c}}});
  EXPECT_EQ(ranges, (std::vector<StreamRange>{a, a_more, b, c, d}));
  EXPECT_TRUE(taken_in_turn({}).empty());
}

INSTANTIATE_TEST_SUITE_P(Ranks, StreamLayoutTest, testing::Values(1, 2, 3, 5, 7, 30));

}  // namespace
}  // namespace fusegrid::stream_layout_test
