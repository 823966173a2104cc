#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "support/token_task.h"
#include "tasks/kind.h"

namespace fusegrid::generate_test {
namespace {

using testing::Each;
using testing::ElementsAre;
using Rows = std::vector<std::vector<int64_t>>;

at::Tensor matrix(const std::vector<int64_t>& values, int64_t rows) {
  return at::tensor(values, at::kLong).view({rows, -1});
}

// A model that says, for the example whose input is its number (counted from the first letter on), what it is told to:
// token by token, and behind that "z" for ever.
class Generate : public testing::Test {
 protected:
  static constexpr float kSure = 20;

  static int64_t number(const Inputs& inputs, int64_t row) {
    return inputs.tokens[row][0].item<int64_t>() - letters("a")[0];
  }
  int64_t said(int64_t example, int64_t place) const {
    const auto& answer = says_.at(static_cast<size_t>(example));
    return place < std::ssize(answer) ? answer[static_cast<size_t>(place)] : letters("z")[0];
  }
  // [n, answer width + 1, vocabulary]
  at::Tensor logits(const Inputs& ready, int64_t vocabulary) const {
    at::Tensor all = at::zeros({ready.size(), ready.answer.size(1) + 1, vocabulary});
    for (int64_t i = 0; i < ready.size(); ++i) {
      for (int64_t place = 0; place < all.size(1); ++place) {
        all[i][place][said(number(ready, i), place)] = kSure;
      }
    }
    return all;
  }
  at::Tensor logits(const Inputs& ready) const { return logits(ready, table_.size()); }
  Asker asker(int64_t vocabulary) {
    return [this, vocabulary](const Inputs& ready, Memory*) {
      asked_.push_back(ready);
      return logits(ready, vocabulary);
    };
  }
  Asker asker() { return asker(table_.size()); }
  void says(const Rows& answers) { says_ = answers; }

  // Examples 0, 1, ... of which these answers are wanted.
  static Examples examples(const Rows& wanted) {
    Rows numbers;
    for (size_t i = 0; i < wanted.size(); ++i) {
      numbers.push_back({letters("a")[0] + static_cast<int64_t>(i)});
    }
    const Inputs answers = rows_of(wanted);
    return {.inputs = rows_of(numbers), .wanted = answers.tokens, .wanted_lengths = answers.lengths};
  }
  Answers answers_to(const Examples& all, const Asker& output, int64_t batch = 256) const {
    return kind_->answer(all, {.feed = for_each_batch, .output = output, .batch = batch});
  }
  Answers answers_to(const Rows& wanted) { return answers_to(examples(wanted), asker()); }

  const TokenTable table_ = letter_table();
  const TaskInfo task_ = token_task("generate", 6);
  const std::shared_ptr<const TaskKind> kind_ = kind_of(task_, &table_);
  Rows says_;
  std::vector<Inputs> asked_;  // in the order of the passes
};

const Outcomes& outcomes(const Answers& answers, const std::string& metric) {
  const auto found = std::find_if(answers.outcomes.begin(), answers.outcomes.end(),
                                  [&](const Outcomes& each) { return each.metric == metric; });
  EXPECT_NE(found, answers.outcomes.end()) << metric;
  return *found;
}

TEST_F(Generate, compares_texts_by_every_metric) {
  says({ended("cat"), ended("a cat"), ended("dog")});
  const Answers answers = answers_to({ended("cat"), ended("cat"), ended("cat")});
  EXPECT_EQ(answers.examples, 3);
  EXPECT_TRUE(answers.finite);
  EXPECT_TRUE(answers.predictions.empty());
  EXPECT_THAT(outcomes(answers, "exact_match").rows, ElementsAre(1, 0, 0));
  const auto two_thirds = static_cast<float>(2.0 / 3);
  EXPECT_THAT(outcomes(answers, "token_f1").rows, ElementsAre(1, two_thirds, 0));
  EXPECT_THAT(outcomes(answers, "rouge_l").rows, ElementsAre(1, two_thirds, 0));
  const auto& ngrams = outcomes(answers, "chrf");
  EXPECT_EQ(ngrams.width, 18);
  EXPECT_THAT(std::vector<float>(ngrams.rows.begin() + 18, ngrams.rows.begin() + 21), ElementsAre(4, 3, 3));
  EXPECT_DOUBLE_EQ(answers.metrics.at("exact_match"), 1.0 / 3);
}

TEST_F(Generate, stops_where_all_answers_have_ended) {
  says({ended("ab"), ended("a"), ended("abc")});
  const Answers answers = answers_to({ended("ab"), ended("a"), ended("abc")});
  EXPECT_THAT(outcomes(answers, "exact_match").rows, Each(1));
  ASSERT_EQ(asked_.size(), 4U);
  for (size_t pass = 0; pass < asked_.size(); ++pass) {
    EXPECT_EQ(asked_[pass].answer.size(1), static_cast<int64_t>(pass));
    EXPECT_TRUE((asked_[pass].answer_lengths == static_cast<int64_t>(pass)).all().item<bool>());
  }
  const std::vector<int64_t> abc = letters("abc");
  EXPECT_TRUE(asked_.back().answer.equal(
      matrix({abc[0], abc[1], kEnd, abc[0], kEnd, kPad, abc[0], abc[1], abc[2]}, 3)))
      << "filled up behind the end";
}

TEST_F(Generate, stops_at_the_longest_answer) {
  says({letters("ab"), ended("ab")});
  const Answers answers = answers_to({letters("abzzzz"), ended("ab")});
  EXPECT_THAT(outcomes(answers, "exact_match").rows, ElementsAre(1, 1));
  EXPECT_EQ(asked_.size(), 6U);
}

TEST_F(Generate, what_special_tokens_and_outer_spaces_say_does_not_count) {
  says({{kMark, letters("a")[0], kMark, letters("b")[0], kEnd}, ended(" ab "), ended("a b")});
  const Answers answers = answers_to({ended("ab"), ended("ab"), ended("ab")});
  EXPECT_THAT(outcomes(answers, "exact_match").rows, ElementsAre(1, 1, 0));
}

// Vocabularies of models are rounded up.
TEST_F(Generate, what_tokens_beyond_the_table_say_does_not_count) {
  says({{letters("a")[0], table_.size() + 2, letters("b")[0], kEnd}});
  const Answers answers = answers_to(examples({ended("ab")}), asker(table_.size() + 3));
  EXPECT_THAT(outcomes(answers, "exact_match").rows, ElementsAre(1));
}

TEST_F(Generate, an_empty_answer_is_an_answer) {
  says({{kEnd}, {kEnd}});
  const Answers answers = answers_to({ended("ab"), {kEnd}});
  EXPECT_TRUE(answers.finite);
  EXPECT_EQ(asked_.size(), 1U);
  EXPECT_THAT(outcomes(answers, "exact_match").rows, ElementsAre(0, 1));
  EXPECT_THAT(outcomes(answers, "token_f1").rows, ElementsAre(0, 1));
}

TEST_F(Generate, only_rows_that_count_must_be_finite) {
  says({ended("a"), ended("abc")});
  const Examples wanted = examples({ended("a"), ended("abc")});
  const auto with_nan = [&](int64_t example, int64_t place) {
    return answers_to(wanted, [&, example, place](const Inputs& ready, Memory*) {
      at::Tensor all = logits(ready);
      if (place < all.size(1)) {
        all[example][place].fill_(std::numeric_limits<float>::quiet_NaN());
      }
      return all;
    });
  };
  EXPECT_FALSE(with_nan(0, 1).finite) << "of the end";
  EXPECT_TRUE(with_nan(0, 2).finite) << "behind the end";
  EXPECT_THAT(outcomes(with_nan(0, 2), "exact_match").rows, ElementsAre(1, 1));
  EXPECT_FALSE(with_nan(1, 2).finite);
}

// Inputs of one width share a batch, so models see the examples in another order than the answers are in.
TEST_F(Generate, keeps_the_order_of_examples_of_several_widths) {
  Examples all = examples({ended("a"), ended("b"), ended("c"), ended("d")});
  Rows rows;
  for (const int64_t length : {20, 1, 9, 3}) {
    rows.emplace_back(static_cast<size_t>(length), letters("a")[0] + std::ssize(rows));
  }
  all.inputs = rows_of(rows);
  says({ended("a"), ended("b"), ended("x"), ended("d")});
  for (const int64_t batch : {1, 2, 100}) {
    EXPECT_THAT(outcomes(answers_to(all, asker(), batch), "exact_match").rows, ElementsAre(1, 1, 0, 1))
        << batch;
  }
}

TEST_F(Generate, gives_a_model_one_memory_for_each_batch) {
  says({ended("ab"), ended("a"), ended("abc")});
  std::vector<int64_t> held;  // before each pass
  answers_to(
      examples(says_),
      [&](const Inputs& ready, Memory* memory) {
        EXPECT_FALSE(at::GradMode::is_enabled());
        held.push_back(memory->tokens);
        memory->tokens = ready.answer.size(1) + 1;
        return logits(ready);
      },
      2);
  EXPECT_THAT(held, ElementsAre(0, 1, 2, /*the second batch*/ 0, 1, 2, 3));
}

TEST_F(Generate, completes_inputs_with_the_answers_of_the_model) {
  says({ended("a"), ended("abc"), letters("abcdef")});
  const Inputs completed = kind_->completed(examples(says_).inputs, asker());
  EXPECT_TRUE(completed.tokens.equal(examples(says_).inputs.tokens));
  const auto [a, b, c, d, e] = std::array{3, 4, 5, 6, 7};
  EXPECT_TRUE(
      completed.answer.equal(matrix({a, kEnd, kPad, kPad, kPad, a, b, c, kEnd, kPad, a, b, c, d, e}, 3)));
  EXPECT_TRUE(completed.answer_lengths.equal(at::tensor({1, 3, 5}, at::kLong)))
      << "each without its last token";
}

TEST_F(Generate, has_a_distribution_of_each_row_that_counts) {
  says({ended("a"), {kEnd}, ended("ab")});
  const Inputs completed = kind_->completed(examples(says_).inputs, asker());
  ASSERT_EQ(completed.answer.size(1), 2);
  const at::Tensor output = normal(1, 0, 0, 3 * 3 * table_.size()).view({3, 3, -1});
  const at::Tensor log_p = kind_->log_probabilities(output, completed);
  const std::vector<std::pair<int64_t, int64_t>> rows{{0, 0}, {0, 1}, {1, 0}, {2, 0}, {2, 1}, {2, 2}};
  ASSERT_EQ(log_p.sizes().vec(), (std::vector<int64_t>{6, table_.size()}));
  for (size_t i = 0; i < rows.size(); ++i) {
    const at::Tensor expected = at::log_softmax(output[rows[i].first][rows[i].second], 0);
    EXPECT_TRUE(log_p[static_cast<int64_t>(i)].allclose(expected, 1e-6)) << i;
  }
}

TEST_F(Generate, an_answer_that_ends_at_once_has_one_row) {
  says({{kEnd}, {kEnd}});
  const Inputs completed = kind_->completed(examples(says_).inputs, asker());
  EXPECT_EQ(completed.answer.sizes().vec(), (std::vector<int64_t>{2, 0}));
  EXPECT_EQ(kind_->log_probabilities(logits(completed), completed).size(0), 2);
}

TEST_F(Generate, teaches_each_token_from_those_before_it) {
  const Examples all = examples({ended("a"), ended("ba")});
  const Inputs taught = kind_->taught(all);
  EXPECT_TRUE(taught.tokens.equal(all.inputs.tokens));
  const auto [a, b] = std::array{3, 4};
  EXPECT_TRUE(taught.answer.narrow(1, 0, 2).equal(matrix({a, kEnd, b, a}, 2)));
  EXPECT_EQ(taught.answer.size(1), all.wanted.size(1) - 1);
  EXPECT_TRUE(taught.answer_lengths.equal(at::tensor({1, 2}, at::kLong)));
}

TEST_F(Generate, trains_with_the_mean_cross_entropy_of_an_answers_tokens) {
  const Examples all = examples({ended("a"), ended("ba")});
  const int64_t width = all.wanted.size(1);
  at::Tensor output = normal(1, 0, 0, 2 * width * table_.size()).to(at::kDouble).view({2, width, -1});
  const auto minus_log_p = [&](int64_t row, int64_t place) {
    const at::Tensor z = output[row][place];
    const auto token = all.wanted[row][place].item<int64_t>();
    return std::log(z.exp().sum().item<double>()) - z[token].item<double>();
  };
  const at::Tensor losses = kind_->losses(output, all);
  ASSERT_EQ(losses.sizes().vec(), std::vector<int64_t>{2});
  EXPECT_NEAR(losses[0].item<double>(), (minus_log_p(0, 0) + minus_log_p(0, 1)) / 2, 1e-12);
  EXPECT_NEAR(losses[1].item<double>(), (minus_log_p(1, 0) + minus_log_p(1, 1) + minus_log_p(1, 2)) / 3,
              1e-12);
}

TEST_F(Generate, what_fills_answers_up_has_no_part_in_losses) {
  const Examples all = examples({ended("a"), ended("ba")});
  const int64_t width = all.wanted.size(1);
  const at::Tensor output = normal(1, 0, 0, 2 * (width + 3) * table_.size()).view({2, width + 3, -1});
  const at::Tensor losses = kind_->losses(output.narrow(1, 0, width), all);
  EXPECT_TRUE(kind_->losses(output, all).equal(losses)) << "rows for longer answers in the same pass";
  Examples filled = all;
  filled.wanted = all.wanted.clone();
  filled.wanted[0].narrow(0, 2, width - 2).fill_(kMark);
  at::Tensor other = output.narrow(1, 0, width).clone();
  other[0].narrow(0, 2, width - 2).fill_(std::numeric_limits<float>::quiet_NaN());
  EXPECT_TRUE(kind_->losses(other, filled).equal(losses));
}

// ---- numbers

const std::vector<std::string> kNumbers{"3", "1", "2.5", "2.50", "-4", "10", "0", "2.5"};
const std::vector<std::string> kWantedNumbers{"2", "0.5", "7", "2", "-1", "6", "1", "3"};
constexpr double kSpearman = 0.7608650751944147;  // scipy.stats.spearmanr

Rows all_ended(const std::vector<std::string>& texts) {
  Rows rows;
  for (const std::string& text : texts) {
    rows.push_back(ended(text));
  }
  return rows;
}

TEST_F(Generate, correlates_the_ranks_of_numbers) {
  says(all_ended(kNumbers));
  const Answers answers = answers_to(all_ended(kWantedNumbers));
  EXPECT_NEAR(answers.metrics.at("spearman"), kSpearman, 1e-7);
  const std::vector<float>& rows = outcomes(answers, "spearman").rows;
  EXPECT_EQ(rows.at(0), 7.0F / 8) << "the seventh of eight";
  EXPECT_EQ(rows.at(1), 4.5F / 8) << "the fourth and fifth are alike";
}

TEST_F(Generate, takes_an_answer_that_is_no_number_as_zero) {
  for (const std::string wrong : {"none", "", "1.5x", "inf", "nan"}) {
    std::vector<std::string> texts = kNumbers;
    texts[6] = wrong;
    says(all_ended(texts));
    EXPECT_NEAR(answers_to(all_ended(kWantedNumbers)).metrics.at("spearman"), kSpearman, 1e-7) << wrong;
  }
}

TEST_F(Generate, has_no_correlation_where_no_numbers_are_wanted) {
  says({ended("1"), ended("2"), ended("3")});
  const Answers answers = answers_to({ended("1"), ended("2"), ended("x")});
  EXPECT_FALSE(answers.metrics.contains("spearman"));
  EXPECT_EQ(answers.undefined.at("spearman"),
            "all answers or all labels are alike, or no numbers are wanted");
  EXPECT_TRUE(std::none_of(answers.outcomes.begin(), answers.outcomes.end(),
                           [](const Outcomes& each) { return each.metric == "spearman"; }));
}

TEST_F(Generate, has_no_correlation_where_all_numbers_are_alike) {
  says({ended("2"), ended("2.0"), ended("2")});
  const Answers answers = answers_to({ended("1"), ended("2"), ended("3")});
  EXPECT_FALSE(answers.metrics.contains("spearman"));
  EXPECT_TRUE(answers.undefined.contains("spearman"));
}

}  // namespace
}  // namespace fusegrid::generate_test
