#include "zoo/span_batches.h"

#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "core/philox.h"
#include "question_world.h"

namespace fusegrid::test {
namespace {

using testing::HasSubstr;

const SpanTokens kTokens{0, 2, {24, 25}};

std::vector<float> numbers(uint64_t stream, int64_t count) {
  const at::Tensor drawn = uniform(3, stream, 0, count);
  return {drawn.const_data_ptr<float>(), drawn.const_data_ptr<float>() + count};
}

// The row again: each span in the place of its sentinel.
std::vector<int32_t> put_back(const std::vector<int32_t>& input, const std::vector<int32_t>& answer) {
  std::vector<int32_t> row;
  auto span = answer.begin();
  for (const int32_t token : input) {
    if (token < 24) {
      row.push_back(token);
      continue;
    }
    EXPECT_EQ(*span, token) << "sentinels are in their order";
    for (++span; *span != 2 && *span < 24; ++span) {
      row.push_back(*span);
    }
  }
  EXPECT_EQ(span + 1, answer.end());
  return row;
}

TEST(HideSpans, LosesNothing) {
  for (int32_t length = 2; length < 30; ++length) {
    std::vector<int32_t> row;
    for (int32_t i = 0; i < length; ++i) {
      row.push_back(4 + i % 20);
    }
    row.push_back(2);
    const auto [input, answer] =
        hide_spans(row, kTokens, 0.25, 2.5, numbers(static_cast<uint64_t>(length), 40));
    EXPECT_EQ(put_back(input, answer), row);
    EXPECT_LT(input.front(), 24) << "the front stays";
    EXPECT_EQ(input.back(), 2);
  }
}

TEST(HideSpans, HidesTheShareInSpansOfTheMeanLength) {
  std::vector<int32_t> row(20, 5);
  row.push_back(2);
  std::set<std::vector<int32_t>> seen;
  for (uint64_t draw = 0; draw < 50; ++draw) {
    const auto [input, answer] = hide_spans(row, kTokens, 0.25, 2.5, numbers(draw, 21));
    EXPECT_EQ(answer.size(), 5U + 2 + 1) << "5 of 20 tokens, two sentinels and the end";
    EXPECT_EQ(input.size(), 15U + 2 + 1);
    seen.insert(input);
  }
  EXPECT_GT(seen.size(), 8U) << "of the 14 places of the first span";
}

TEST(HideSpans, NeedsNoMoreSentinelsThanThereAre) {
  std::vector<int32_t> row(30, 5);
  row.push_back(2);
  const auto [input, answer] = hide_spans(row, kTokens, 0.5, 1, numbers(0, 31));
  EXPECT_EQ(answer.size(), 15U + 2 + 1) << "15 spans of one token would need 15";
}

TEST(SpanTokens, AreThoseOfTheTable) {
  const TemporaryFolder folder;
  question_pool().write(folder / "pool.h5");
  const SpanTokens tokens = span_tokens(*PretrainingPool(folder / "pool.h5").tokens());
  EXPECT_EQ(tokens.pad, 0);
  EXPECT_EQ(tokens.end, 2);
  EXPECT_EQ(tokens.sentinels, (std::vector<int32_t>{24, 25}));
}

TEST(SpanTokens, ATokenizerWithoutThemIsRefused) {
  const TemporaryFolder folder;
  word_pool().write(folder / "pool.h5");
  const PretrainingPool pool(folder / "pool.h5");
  EXPECT_THAT([&] { check_span_pool(pool); },
              testing::ThrowsMessage<ConfigError>(HasSubstr("make it with tools/make_seq2seq_pool.py")));
}

TEST(SpanPoolBatches, AreTextsWithHiddenSpansAndThenQuestions) {
  const TemporaryFolder folder;
  question_pool().write(folder / "pool.h5");
  const PretrainingPool pool(folder / "pool.h5");
  const SpanPoolBatches batches(pool, {.texts = 3, .pairs = 4, .seed = 5});
  const Examples batch = batches.at(2);
  EXPECT_EQ(batch.inputs.size(), 7);
  EXPECT_EQ(batch.wanted.size(1), batch.wanted_lengths.max().item<int64_t>()) << "no wider than needed";
  for (int64_t i = 0; i < 7; ++i) {
    const bool has_sentinel = batch.inputs.tokens[i].eq(24).any().item<bool>();
    EXPECT_EQ(has_sentinel, i < 3);
    EXPECT_EQ(batch.wanted[i][batch.wanted_lengths[i].item<int64_t>() - 1].item<int64_t>(), 2);
  }
  EXPECT_TRUE(batches.at(2).inputs.tokens.equal(batch.inputs.tokens))
      << "a step is the same whenever it is asked";
  const Examples next = batches.at(3);
  EXPECT_FALSE(next.inputs.tokens.sizes() == batch.inputs.tokens.sizes() &&
               next.inputs.tokens.equal(batch.inputs.tokens));
}

}  // namespace
}  // namespace fusegrid::test
