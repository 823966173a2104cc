#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "tasks/kind.h"

namespace fusegrid::retrieve_test {
namespace {

using testing::ElementsAre;

// Pairs of which the text of number i is the row `texts[i]`, two tokens long; images are never looked at, and hold the
// number of the example.
Examples pairs(const std::vector<int64_t>& texts) {
  const auto count = static_cast<int64_t>(texts.size());
  Examples examples;
  examples.inputs.images = at::arange(count, at::kFloat).view({count, 1, 1, 1}).expand({-1, 3, 1, 1});
  const at::Tensor ids = at::tensor(texts, at::kLong);
  examples.inputs.tokens = at::stack({ids, ids + 1}, 1);
  examples.inputs.lengths = at::full({count}, 2, at::kLong);
  return examples;
}

// of_images, of_texts: [n, size], by example.
Answers answers_of(const Examples& examples, const at::Tensor& of_images, const at::Tensor& of_texts,
                   int64_t batch = 3) {
  const Asking asking{
      .feed = [](const Inputs& stored, int64_t most,
                 const auto& visit) { for_each_batch(stored, most, visit); },
      .output =
          [&](const Inputs& ready, Memory*) {
            const at::Tensor rows = ready.images.select(1, 0).flatten().to(at::kLong);
            return at::stack({of_images.index_select(0, rows), of_texts.index_select(0, rows)}, 1);
          },
      .batch = batch};
  return task_kind("retrieve").answer(examples, asking);
}

at::Tensor random_rows(int64_t count, int64_t size, const std::string& purpose) {
  return normal(derive_key(7, purpose), 0, 0, count * size).view({count, size});
}

TEST(Retrieve, rows_that_are_one_another_find_everything) {
  const at::Tensor rows = at::eye(7);
  const Answers answers = answers_of(pairs({0, 1, 2, 3, 4, 5, 6}), rows, rows);
  for (const std::string& metric : task_kind("retrieve").metrics()) {
    EXPECT_EQ(answers.metrics.at(metric), 1) << metric;
  }
  EXPECT_EQ(answers.examples, 7);
  EXPECT_TRUE(answers.finite);
}

TEST(Retrieve, rows_that_are_all_the_same_find_nothing) {
  const at::Tensor rows = at::full({8, 2}, 1.0);
  const Answers answers = answers_of(pairs({0, 1, 2, 3, 4, 5, 6, 7}), rows, rows);
  EXPECT_EQ(answers.metrics.at("recall_1"), 0);
  EXPECT_EQ(answers.metrics.at("recall_5"), 0);
}

TEST(Retrieve, chance_finds_one_of_as_many_as_there_are) {
  constexpr int64_t kCount = 400;
  std::vector<int64_t> texts(kCount);
  for (int64_t i = 0; i < kCount; ++i) {
    texts[static_cast<size_t>(i)] = i;
  }
  const Answers answers =
      answers_of(pairs(texts), random_rows(kCount, 16, "images"), random_rows(kCount, 16, "texts"));
  EXPECT_LT(answers.metrics.at("recall_1"), 0.02);
  EXPECT_LT(answers.metrics.at("recall_5"), 0.05);
}

// Two directions: both images are near the first text, each text is nearest to its own image.
TEST(Retrieve, directions_are_told_apart) {
  const at::Tensor of_images = at::tensor({2.0, 0.0, 1.0, 0.5}).view({2, 2});
  const at::Tensor of_texts = at::tensor({1.0, 0.0, 0.0, 1.0}).view({2, 2});
  const Answers answers = answers_of(pairs({0, 5}), of_images, of_texts);
  EXPECT_EQ(answers.metrics.at("text_recall_1"), 0.5);
  EXPECT_EQ(answers.metrics.at("image_recall_1"), 1);
  EXPECT_EQ(answers.metrics.at("recall_1"), 0.75);
  EXPECT_THAT(answers.outcomes.at(0).rows, ElementsAre(1, 0.5));
}

TEST(Retrieve, equal_texts_are_right_for_each_of_their_pictures) {
  const at::Tensor of_images = at::eye(3);
  const at::Tensor of_texts =
      at::eye(3).roll(1, 0);  // the row of the last text is that of the first picture, ...
  EXPECT_EQ(answers_of(pairs({4, 5, 6}), of_images, of_texts).metrics.at("recall_1"), 0);
  EXPECT_EQ(answers_of(pairs({4, 4, 4}), of_images, of_texts).metrics.at("recall_1"), 1);
}

TEST(Retrieve, does_not_depend_on_batches) {
  const at::Tensor of_images = random_rows(20, 4, "images"),
                   of_texts = of_images + random_rows(20, 4, "texts") / 2;
  std::vector<int64_t> texts;
  for (int64_t i = 0; i < 20; ++i) {
    texts.push_back(i / 2);
  }
  const Answers one = answers_of(pairs(texts), of_images, of_texts, 1);
  const Answers all = answers_of(pairs(texts), of_images, of_texts, 20);
  for (size_t i = 0; i < one.outcomes.size(); ++i) {
    EXPECT_EQ(one.outcomes[i].rows, all.outcomes[i].rows);
  }
}

TEST(Retrieve, says_what_is_not_finite) {
  at::Tensor rows = at::eye(3).clone();
  rows[0][0] = NAN;
  const Answers answers = answers_of(pairs({0, 1, 2}), rows, at::eye(3));
  EXPECT_FALSE(answers.finite);
  EXPECT_LT(answers.metrics.at("recall_1"), 1);
}

// log(1 + e^-1) in both directions.
TEST(Retrieve, loss_is_contrastive_in_both_directions) {
  const at::Tensor output = at::stack({at::eye(2), at::eye(2)}, 1);
  const at::Tensor losses = task_kind("retrieve").losses(output, pairs({0, 5}));
  EXPECT_NEAR(losses[0].item<double>(), std::log1p(std::exp(-1.0)), 1e-6);
  EXPECT_NEAR(losses[1].item<double>(), std::log1p(std::exp(-1.0)), 1e-6);
  EXPECT_NEAR(task_kind("retrieve").losses(output, pairs({5, 5}))[0].item<double>(), 0, 1e-6) << "one text";
}

TEST(Retrieve, has_no_distribution_and_no_classes) {
  EXPECT_FALSE(task_kind("retrieve").has_distribution());
  EXPECT_FALSE(task_kind("retrieve").has_classes());
  EXPECT_EQ(task_kind("retrieve").outputs(0), 2);
  EXPECT_EQ(task_kind("retrieve").metrics().front(), "recall_1");
}

}  // namespace
}  // namespace fusegrid::retrieve_test
