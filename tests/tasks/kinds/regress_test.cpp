#include <cmath>
#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "tasks/kind.h"

namespace fusegrid::regress_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// One token an example: its number. lengths: how often it stands there.
Inputs numbered_rows(const std::vector<int64_t>& lengths) {
  std::vector<int64_t> ids;
  std::vector<int64_t> offsets{0};
  for (size_t i = 0; i < lengths.size(); ++i) {
    ids.insert(ids.end(), static_cast<size_t>(lengths[i]), static_cast<int64_t>(i));
    offsets.push_back(static_cast<int64_t>(ids.size()));
  }
  return token_inputs(at::tensor(ids, at::kLong), at::tensor(offsets, at::kLong), 0);
}

// Of a model whose output for example i is row i of `outputs`.
Answers answers_to(const Examples& examples, const at::Tensor& outputs, int64_t batch = 256) {
  return task_kind("regress").answer(
      examples, {.feed = for_each_batch,
                 .output = [&](const Inputs& ready,
                               Memory*) { return outputs.index_select(0, ready.tokens.select(1, 0)); },
                 .batch = batch});
}
Answers answers_to(const std::vector<float>& values, const std::vector<float>& outputs) {
  const std::vector<int64_t> lengths(values.size(), 1);
  return answers_to({.inputs = numbered_rows(lengths), .values = at::tensor(values)},
                    at::tensor(outputs).view({-1, 1}));
}

TEST(Regress, correlates_answers_with_values_and_measures_their_distance) {
  const Answers answers = answers_to({1, 2.5, 3, 0}, {1.5, 2, 3.25, 0.5});
  EXPECT_EQ(answers.examples, 4);
  EXPECT_TRUE(answers.finite);
  EXPECT_TRUE(answers.predictions.empty());
  EXPECT_NEAR(answers.metrics.at("pearson"), 0.946190276161372, 1e-15);  // Python's statistics.correlation
  EXPECT_NEAR(answers.metrics.at("rmse"), std::sqrt((3 * 0.25 + 0.0625) / 4), 1e-15);
  ASSERT_EQ(answers.outcomes.size(), 2U);
  EXPECT_EQ(answers.outcomes[0].metric, "pearson");
  EXPECT_EQ(answers.outcomes[0].width, 5);
  EXPECT_THAT(std::vector<float>(answers.outcomes[0].rows.begin() + 5, answers.outcomes[0].rows.begin() + 10),
              ElementsAre(2, 2.5, 4, 6.25, 5));
  EXPECT_EQ(answers.outcomes[1].metric, "rmse");
  EXPECT_EQ(answers.outcomes[1].width, 1);
  EXPECT_THAT(answers.outcomes[1].rows, ElementsAre(0.25, 0.25, 0.0625, 0.25));
}

TEST(Regress, has_no_correlation_of_answers_that_are_all_alike) {
  const Answers answers = answers_to({1, 2, 3}, {2, 2, 2});
  EXPECT_FALSE(answers.metrics.contains("pearson"));
  EXPECT_EQ(answers.undefined.at("pearson"), "all answers or all labels are alike");
  EXPECT_NEAR(answers.metrics.at("rmse"), std::sqrt(2.0 / 3), 1e-15);
}

// Rows of one width share a batch, so models see the examples in another order than the values are in.
TEST(Regress, keeps_the_order_of_examples_that_are_rows_of_tokens_of_several_widths) {
  const Examples examples{.inputs = numbered_rows({20, 1, 9, 3}), .values = at::zeros({4})};
  const at::Tensor outputs = at::tensor({1.0F, 2.0F, 3.0F, 4.0F}).view({4, 1});
  for (const int64_t batch : {1, 2, 100}) {
    EXPECT_THAT(answers_to(examples, outputs, batch).outcomes.at(1).rows, ElementsAre(1, 4, 9, 16)) << batch;
  }
}

TEST(Regress, counts_answers_whose_squares_overflow_as_not_finite) {
  EXPECT_TRUE(answers_to({1, 2}, {1e18F, 1}).finite);
  EXPECT_FALSE(answers_to({1, 2}, {1e20F, 1}).finite);
}

TEST(Regress, refuses_a_head_of_several_outputs) {
  const Examples examples{.inputs = numbered_rows({1, 1}), .values = at::zeros({2})};
  EXPECT_THAT(
      [&] {
        answers_to(examples, at::ones({2, 3}));
      },
      testing::ThrowsMessage<DataError>(testing::AllOf(
          HasSubstr("is one number, but the head of the task has 3 outputs"), HasSubstr("zoo verify"))));
  EXPECT_EQ(task_kind("regress").outputs(0), 1);
}

TEST(Regress, trains_with_the_squared_error_of_each_row) {
  const TaskKind& kind = task_kind("regress");
  const Examples examples{.inputs = {}, .values = at::tensor({1.0F, -2.0F})};
  const at::Tensor losses = kind.losses(at::tensor({3.0F, -2.5F}).view({2, 1}), examples);
  EXPECT_EQ(losses.sizes().vec(), std::vector<int64_t>{2});
  EXPECT_EQ(losses[0].item<float>(), 4);
  EXPECT_EQ(losses[1].item<float>(), 0.25);
  EXPECT_FALSE(kind.has_distribution());
  EXPECT_FALSE(kind.has_classes());
}

}  // namespace
}  // namespace fusegrid::regress_test
