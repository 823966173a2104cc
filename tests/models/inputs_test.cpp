#include "models/inputs.h"

#include <vector>

#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

namespace fusegrid::inputs_test {
namespace {

at::Tensor marks(const std::vector<int64_t>& values, int64_t rows) {
  return at::tensor(values, at::kLong).view({rows, -1}).to(at::kBool);
}

Inputs two_rows() {
  return {{}, at::ones({2, 3}, at::kLong), at::tensor({1, 3}, at::kLong)};
}

TEST(Inputs, CountTheFirstPositionsOfEachRow) {
  EXPECT_TRUE(two_rows().counting().equal(marks({1, 0, 0, 1, 1, 1}, 2)));
  EXPECT_FALSE(Inputs().counting().defined());
  EXPECT_TRUE(counting_positions(at::tensor({0, 2}, at::kLong), 2).equal(marks({0, 0, 1, 1}, 2)));
}

// The same with answers of 0 and 2 tokens.
Inputs with_answers() {
  Inputs inputs = two_rows();
  inputs.answer = at::tensor({0, 0, 7, 8}, at::kLong).view({2, 2});
  inputs.answer_lengths = at::tensor({0, 2}, at::kLong);
  return inputs;
}

TEST(Inputs, CountTheRowsOfAnAnswerThatPredictItsTokensOrWhatIsBehind) {
  EXPECT_TRUE(with_answers().counting(Rows::kAnswer).equal(marks({1, 0, 0, 1, 1, 1}, 2)));
  Inputs nothing_yet = with_answers();
  nothing_yet.answer = at::zeros({2, 0}, at::kLong);
  nothing_yet.answer_lengths = at::zeros({2}, at::kLong);
  EXPECT_TRUE(nothing_yet.counting(Rows::kAnswer).equal(marks({1, 1}, 2)));
}

TEST(Inputs, CountTheTokensOfInputAndAnswerTogether) {
  EXPECT_TRUE(with_answers().counting().equal(two_rows().counting())) << "the answer is none of the input's";
  EXPECT_TRUE(with_answers().counting(Rows::kBoth).equal(marks({1, 0, 0, 0, 0, 1, 1, 1, 1, 1}, 2)));
  EXPECT_TRUE(two_rows().counting(Rows::kBoth).equal(two_rows().counting())) << "of inputs without answers";
  EXPECT_FALSE(Inputs().counting(Rows::kBoth).defined());
}

TEST(Inputs, CountTheRowsOfAnImageInFrontOfItsTokens) {
  Inputs pictured = two_rows();
  pictured.images = at::zeros({2, 3, 4, 4});
  EXPECT_FALSE(pictured.counting().defined()) << "those of an image all count";
  EXPECT_TRUE(pictured.counting(Rows::kBoth).equal(two_rows().counting()));
  EXPECT_TRUE(pictured.counting(Rows::kSequence, 5).equal(marks({1, 1, 1, 0, 0, 1, 1, 1, 1, 1}, 2)));
  EXPECT_TRUE(two_rows().counting(Rows::kSequence, 3).equal(two_rows().counting())) << "without an image";
}

TEST(Inputs, SayWhetherTheyArePairs) {
  Inputs pair = two_rows();
  pair.images = at::zeros({2, 3, 4, 4});
  EXPECT_FALSE(pair.pairs);
  pair.pairs = true;
  EXPECT_TRUE(pair.rows(0, 1).pairs && pair.select(at::tensor({1}, at::kLong)).pairs &&
              pair.to(at::kCPU).pairs);
  EXPECT_TRUE(concatenate_inputs({pair, pair}).pairs);
  for_each_batch(pair, 1, [](const Inputs& part, const at::Tensor&) { EXPECT_TRUE(part.pairs); });
}

TEST(Inputs, KnowWhichTextOfAPairATokenBelongsTo) {
  const at::Tensor tokens = at::tensor({2, 5, 3, 6, 3, 0, 2, 5, 6, 3, 0, 0}, at::kLong).view({2, 6});
  const at::Tensor expected = at::tensor({0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1, 1}, at::kLong).view({2, 6});
  EXPECT_TRUE(types_behind(tokens, 3).equal(expected));
  Inputs inputs{{}, tokens, at::tensor({5, 4}, at::kLong)};
  inputs.types = expected;
  EXPECT_TRUE(inputs.select(at::tensor({1}, at::kLong)).types.equal(expected.narrow(0, 1, 1)));
  EXPECT_TRUE(inputs.rows(1, 1).types.equal(expected.narrow(0, 1, 1)));
  EXPECT_TRUE(concatenate_inputs({inputs, inputs}).types.narrow(0, 2, 2).equal(expected));
  const Inputs wide{{}, at::zeros({2, 24}, at::kLong), at::tensor({5, 4}, at::kLong)};
  Inputs trimmed = wide;
  trimmed.types = wide.tokens;
  trimmed = trimmed.select(at::tensor({0, 1}, at::kLong));
  EXPECT_EQ(trimmed.types.sizes(), trimmed.tokens.sizes()) << "they are as wide as their tokens";
}

TEST(Inputs, AreCutAndMovedWithTheirAnswers) {
  const Inputs second = with_answers().rows(1, 1);
  EXPECT_TRUE(second.answer.equal(at::tensor({7, 8}, at::kLong).view({1, 2})));
  EXPECT_EQ(second.answer_lengths.item<int64_t>(), 2);
  const Inputs turned = with_answers().select(at::tensor({1, 0}, at::kLong));
  EXPECT_TRUE(turned.answer.equal(at::tensor({7, 8, 0, 0}, at::kLong).view({2, 2})));
  EXPECT_TRUE(turned.answer_lengths.equal(at::tensor({2, 0}, at::kLong)));
  EXPECT_EQ(with_answers().to(at::kMeta).answer.device(), at::kMeta);
  EXPECT_EQ(with_answers().to(at::kMeta).answer_lengths.device(), at::kMeta);
}

TEST(Inputs, AreConcatenatedAsWideAsTheWidestAnswer) {
  Inputs longer = with_answers();
  longer.answer = at::tensor({1, 2, 3, 4, 5, 6}, at::kLong).view({2, 3});
  longer.answer_lengths = at::tensor({3, 1}, at::kLong);
  const Inputs both = concatenate_inputs({with_answers(), longer});
  EXPECT_TRUE(both.answer.equal(at::tensor({0, 0, 0, 7, 8, 0, 1, 2, 3, 4, 5, 6}, at::kLong).view({4, 3})));
  EXPECT_TRUE(both.answer_lengths.equal(at::tensor({0, 2, 3, 1}, at::kLong)));
  EXPECT_EQ(both.tokens.sizes().vec(), (std::vector<int64_t>{4, 3}));
  EXPECT_FALSE(concatenate_inputs({two_rows(), two_rows()}).answer.defined());
  EXPECT_DEATH(concatenate_inputs({two_rows(), longer}), "parts of one kind") << "all have answers or none";
}

Examples with_wanted() {
  return {.inputs = two_rows(),
          .wanted = at::tensor({7, 1, 0, 8, 9, 1}, at::kLong).view({2, 3}),
          .wanted_lengths = at::tensor({2, 3}, at::kLong)};
}

TEST(Examples, TheFirstComeWithWhatIsToBeAnswered) {
  const Examples first = with_wanted().first(1);
  EXPECT_TRUE(first.wanted.equal(at::tensor({7, 1, 0}, at::kLong).view({1, 3})));
  EXPECT_EQ(first.wanted_lengths.item<int64_t>(), 2);
  EXPECT_EQ(first.inputs.size(), 1);
  EXPECT_EQ(with_wanted().first(-1).wanted.size(0), 2);
  EXPECT_EQ(with_wanted().first(9).wanted_lengths.size(0), 2);
}

TEST(Examples, OfABatchHaveItsInputsAndTheirOwnLabels) {
  const Examples examples{two_rows(), at::tensor({7, 8}, at::kLong)};
  const Examples second = examples.at(at::tensor({1}, at::kLong), two_rows().rows(1, 1));
  EXPECT_EQ(second.inputs.size(), 1);
  EXPECT_EQ(second.labels.item<int64_t>(), 8);
  EXPECT_FALSE(second.values.defined());
}

TEST(Examples, MoveWithWhatIsToBeAnswered) {
  const Examples examples{two_rows(), at::tensor({0, 1}, at::kLong)};
  const Examples moved = examples.to(at::kMeta);
  for (const at::Tensor& tensor : {moved.inputs.tokens, moved.inputs.lengths, moved.labels}) {
    EXPECT_EQ(tensor.device(), at::kMeta);
  }
  EXPECT_FALSE(moved.inputs.images.defined());
  EXPECT_FALSE(moved.values.defined());
  EXPECT_EQ(Examples({{}, {}, at::ones({2})}).to(at::kMeta).values.device(), at::kMeta);
  EXPECT_EQ(with_wanted().to(at::kMeta).wanted.device(), at::kMeta);
  EXPECT_EQ(with_wanted().to(at::kMeta).wanted_lengths.device(), at::kMeta);
  EXPECT_EQ(examples.to(at::kCPU).labels.data_ptr(), examples.labels.data_ptr());
}

}  // namespace
}  // namespace fusegrid::inputs_test
