#include <cmath>
#include <limits>
#include <numbers>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/log_softmax.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "core/philox.h"
#include "support/token_task.h"
#include "tasks/kind.h"

namespace fusegrid::language_model_test {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Le;

// A model whose logits at place j of a row are a row of a table, which the token there chooses.
class LanguageModel : public testing::Test {
 protected:
  at::Tensor logits(const Inputs& ready) const {
    return table_of_logits_.index_select(0, ready.tokens.flatten())
        .view({ready.size(), ready.tokens.size(1), -1});
  }
  Answers answers_to(const Inputs& rows, int64_t batch = 256, const TaskInfo& task = kTask) {
    batches_.clear();
    return kind_of(task, &table_)
        ->answer({.inputs = rows}, {.feed = for_each_batch,
                                    .output =
                                        [&](const Inputs& ready, Memory* memory) {
                                          EXPECT_EQ(memory, nullptr);
                                          EXPECT_FALSE(at::GradMode::is_enabled());
                                          batches_.push_back(ready.size());
                                          return logits(ready);
                                        },
                                    .batch = batch});
  }
  // -log p of a token behind another.
  double nats(int64_t token, int64_t next) const {
    const at::Tensor z = table_of_logits_[token].to(at::kDouble);
    return std::log(z.exp().sum().item<double>()) - z[next].item<double>();
  }
  // The same of all tokens of a row but the first.
  double nats(const std::vector<int64_t>& row) const {
    double sum = 0;
    for (size_t i = 1; i < row.size(); ++i) {
      sum += nats(row[i - 1], row[i]);
    }
    return sum;
  }

  static inline const TaskInfo kTask = token_task("language_model");
  const TokenTable table_ = letter_table();
  const int64_t accented_ = table_.size() - 1;
  at::Tensor table_of_logits_ = normal(1, 0, 0, table_.size() * table_.size()).view({table_.size(), -1});
  const std::shared_ptr<const TaskKind> kind_ = kind_of(kTask, &table_);
  const std::vector<int64_t> cat_ = letters("cat");
  const std::vector<int64_t> long_ = letters("a long row");
  std::vector<int64_t> batches_;  // of the last answers_to()
};

TEST_F(LanguageModel, sums_over_all_tokens_but_the_first) {
  const Answers answers = answers_to(rows_of({long_, cat_}));
  EXPECT_EQ(answers.examples, 2);
  EXPECT_TRUE(answers.finite);
  ASSERT_EQ(answers.outcomes.size(), 2U);
  EXPECT_EQ(answers.outcomes[0].metric, "perplexity");
  EXPECT_THAT(answers.outcomes[0].rows,
              ElementsAre(testing::FloatNear(static_cast<float>(nats(long_)), 1e-4F), 9,
                          testing::FloatNear(static_cast<float>(nats(cat_)), 1e-4F), 2));
  EXPECT_NEAR(answers.metrics.at("perplexity"), std::exp((nats(long_) + nats(cat_)) / 11), 1e-4);
  EXPECT_EQ(answers.outcomes[1].metric, "bits_per_byte");
  EXPECT_NEAR(answers.metrics.at("bits_per_byte"), (nats(long_) + nats(cat_)) / std::numbers::ln2 / 11, 1e-5);
}

TEST_F(LanguageModel, counts_the_bytes_of_the_text_that_is_predicted) {
  const int64_t a = letters("a")[0];
  const Answers answers = answers_to(rows_of({{a, a, accented_}, {kMark, a, a, kEnd}, {accented_, kEnd}}));
  const std::vector<float>& rows = answers.outcomes.at(1).rows;
  EXPECT_EQ(rows.at(1), 1 + 2) << "a letter of two bytes";
  EXPECT_EQ(rows.at(3), 2) << "special tokens are no text, though they are predicted";
  EXPECT_EQ(answers.outcomes[0].rows.at(3), 3);
  EXPECT_EQ(rows.at(5), 0) << "nothing predicts the first token";
}

TEST_F(LanguageModel, what_fills_rows_up_has_no_part) {
  const Inputs rows = rows_of({cat_, letters("do")});
  const Answers before = answers_to(rows);
  const at::Tensor losses = kind_->losses(logits(rows), {.inputs = rows});
  Inputs filled = rows;
  filled.tokens = rows.tokens.masked_fill(rows.counting().logical_not(), kMark);
  table_of_logits_[kMark].fill_(std::numeric_limits<float>::quiet_NaN());
  const Answers after = answers_to(filled);
  EXPECT_TRUE(after.finite);
  EXPECT_EQ(after.outcomes[0].rows, before.outcomes[0].rows);
  EXPECT_TRUE(kind_->losses(logits(filled), {.inputs = filled}).equal(losses));
}

TEST_F(LanguageModel, says_where_an_output_is_not_finite) {
  table_of_logits_[letters("a")[0]].fill_(std::numeric_limits<float>::quiet_NaN());
  EXPECT_FALSE(answers_to(rows_of({letters("xyz"), cat_})).finite);
  EXPECT_TRUE(answers_to(rows_of({letters("xyz"), letters("dog")})).finite);
  EXPECT_TRUE(answers_to(rows_of({letters("xyza")})).finite) << "nothing is behind the last token";
}

TEST_F(LanguageModel, refuses_a_row_without_a_token_to_predict) {
  EXPECT_THAT(
      [&] {
        answers_to(rows_of({cat_, letters("a"), cat_}));
      },
      testing::ThrowsMessage<DataError>(AllOf(HasSubstr("must have two tokens"), HasSubstr("row 1 has one"),
                                              HasSubstr("make the task pack without it"))));
}

TEST_F(LanguageModel, bounds_the_tokens_of_a_pass) {
  const std::vector<std::vector<int64_t>> rows(10, cat_);
  const auto batches = [&](int64_t longest_row, int64_t batch) {
    answers_to(rows_of(rows), batch, token_task("language_model", 6, longest_row));
    return batches_;
  };
  EXPECT_THAT(batches(16384 / 4, 256), ElementsAre(4, 4, 2));
  EXPECT_THAT(batches(16384 / 4, 3), ElementsAre(3, 3, 3, 1));
  EXPECT_THAT(batches(100000, 256), AllOf(testing::SizeIs(10), Each(1)));
}

// Rows of one width share a batch, so models see them in another order than the outcomes are in.
TEST_F(LanguageModel, keeps_the_order_of_rows_of_several_widths) {
  const std::vector<std::vector<int64_t>> rows{letters("row of many letters"), cat_, long_, letters("dog")};
  for (const int64_t batch : {1, 2, 100}) {
    const std::vector<float> seen = answers_to(rows_of(rows), batch).outcomes.at(0).rows;
    for (size_t i = 0; i < rows.size(); ++i) {
      EXPECT_NEAR(seen.at(2 * i), nats(rows[i]), 1e-4) << batch;
      EXPECT_EQ(seen.at(2 * i + 1), static_cast<float>(rows[i].size() - 1));
    }
  }
}

TEST_F(LanguageModel, has_a_distribution_of_each_token_but_the_first) {
  const Inputs rows = rows_of({cat_, letters("do")});
  const at::Tensor log_p = kind_->log_probabilities(logits(rows), rows);
  const std::vector<int64_t> before{cat_[0], cat_[1], letters("d")[0]};
  ASSERT_EQ(log_p.sizes().vec(), (std::vector<int64_t>{3, table_.size()}));
  for (size_t i = 0; i < before.size(); ++i) {
    const at::Tensor expected = at::log_softmax(table_of_logits_[before[i]], 0);
    EXPECT_TRUE(log_p[static_cast<int64_t>(i)].allclose(expected, 1e-6)) << i;
  }
}

TEST_F(LanguageModel, trains_with_the_mean_over_a_rows_tokens) {
  const Inputs rows = rows_of({long_, cat_});
  const at::Tensor losses = kind_->losses(logits(rows), {.inputs = rows});
  ASSERT_EQ(losses.sizes().vec(), std::vector<int64_t>{2});
  EXPECT_NEAR(losses[0].item<double>(), nats(long_) / 9, 1e-5);
  EXPECT_NEAR(losses[1].item<double>(), nats(cat_) / 2, 1e-5);
  EXPECT_TRUE(kind_->taught({.inputs = rows}).tokens.is_same(rows.tokens));
}

TEST_F(LanguageModel, trains_with_nothing_of_a_row_of_one_token) {
  const Inputs rows = rows_of({letters("a"), cat_});
  const at::Tensor losses = kind_->losses(logits(rows), {.inputs = rows});
  EXPECT_EQ(losses[0].item<double>(), 0);
  EXPECT_NEAR(losses[1].item<double>(), nats(cat_) / 2, 1e-5);
}

TEST_F(LanguageModel, has_inputs_that_are_its_labels) {
  EXPECT_TRUE(kind_->inputs_are_labels());
  EXPECT_FALSE(task_kind("generate").inputs_are_labels());
}

}  // namespace
}  // namespace fusegrid::language_model_test
