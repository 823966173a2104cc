#include "fusion/fused_model.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>
#include <gtest/gtest.h>

#include "core/concatenate.h"
#include "core/philox.h"
#include "support/small_models.h"
#include "support/test_zoo.h"

namespace fusegrid::fused_model_test {
namespace {

constexpr int64_t kTokens = 3;

at::Tensor mean(const std::vector<at::Tensor>& answers, const std::string& /*head*/) {
  return at::stack(answers).mean(0);
}

// A zoo of models that decode, and some of its inputs with answers.
class Decoding : public testing::Test {
 protected:
  Decoding() {
    inputs_ = zoo_.network->ready(zoo_.data.examples("task0", "test", -1).inputs);
    inputs_.answer =
        (uniform(1, 0, 0, inputs_.size() * kTokens) * 7).to(at::kLong).view({inputs_.size(), kTokens});
  }
  Inputs with_answer(int64_t tokens) const {
    Inputs inputs = inputs_;
    inputs.answer = inputs_.answer.narrow(1, 0, tokens);
    inputs.answer_lengths = inputs_.lengths * 0 + tokens;
    return inputs;
  }
  at::Tensor output(const FusedModel& model, int64_t tokens, Memory* memory) const {
    return model.predictor->output(*zoo_.network, with_answer(tokens),
                                   {.head = "task0", .task = "task0", .memory = memory});
  }
  void expect_the_same_with_a_memory(const FusedModel& model, Memory& memory) const {
    std::vector<at::Tensor> rows;
    for (int64_t tokens = 0; tokens <= kTokens; ++tokens) {
      rows.push_back(output(model, tokens, &memory));
      EXPECT_EQ(rows.back().size(1), 1) << "the new row alone";
    }
    EXPECT_LE(max_error(concatenate(rows, 1), output(model, kTokens, nullptr)), 1e-5);
  }

  TestZoo zoo_ = token_zoo(2);
  Inputs inputs_;
};

TEST_F(Decoding, of_one_model_is_the_same_with_a_memory) {
  Memory memory;
  expect_the_same_with_a_memory(one_model(zoo_.experts[0]), memory);
  EXPECT_EQ(memory.tokens, kTokens + 1);
}

TEST_F(Decoding, of_a_model_per_task_is_the_same_with_a_memory) {
  Memory memory;
  expect_the_same_with_a_memory(
      model_per_task({{"b", zoo_.experts[1]}, {"a", zoo_.experts[0]}}, {{"task0", "b"}, {"task1", "a"}}, 1),
      memory);
  EXPECT_EQ(memory.tokens, kTokens + 1);
}

TEST_F(Decoding, of_an_ensemble_gives_each_member_a_memory) {
  for (const EnsembleLevel level : {EnsembleLevel::kLogits, EnsembleLevel::kProbabilities}) {
    Memory memory;
    expect_the_same_with_a_memory(ensemble(zoo_.experts, level, mean), memory);
    EXPECT_EQ(memory.part(0).tokens, kTokens + 1);
    EXPECT_EQ(memory.part(1).tokens, kTokens + 1);
    EXPECT_EQ(memory.tokens, 0) << "it is no member's";
  }
}

TEST_F(Decoding, of_an_ensemble_combines_the_rows_of_its_members) {
  const at::Tensor a = output(one_model(zoo_.experts[0]), kTokens, nullptr);
  const at::Tensor b = output(one_model(zoo_.experts[1]), kTokens, nullptr);
  ASSERT_GT(max_error(a, b), 0.1);
  const auto of_level = [&](EnsembleLevel level) {
    return output(ensemble(zoo_.experts, level, mean), kTokens, nullptr);
  };
  EXPECT_LE(max_error(of_level(EnsembleLevel::kLogits), (a + b) / 2), 1e-5);
  const at::Tensor p = a.exp() / a.exp().sum({2}, true);
  const at::Tensor q = b.exp() / b.exp().sum({2}, true);
  EXPECT_LE(max_error(of_level(EnsembleLevel::kProbabilities).exp(), (p + q) / 2), 1e-5);
}

}  // namespace
}  // namespace fusegrid::fused_model_test
