#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/philox.h"
#include "models/feeder.h"
#include "support/small_models.h"
#include "support/source_folder.h"
#include "support/token_task.h"
#include "tasks/kind.h"

namespace fusegrid::multiple_choice_test {
namespace {

using testing::ElementsAre;
using testing::FloatNear;
using Rows = std::vector<std::vector<int64_t>>;

// A model whose logits behind a token are a row of a table, which the token chooses.
class MultipleChoice : public testing::Test {
 protected:
  // -log p of a token behind another.
  double nats(int64_t token, int64_t next) const {
    const at::Tensor z = table_of_logits_[token].to(at::kDouble);
    return std::log(z.exp().sum().item<double>()) - z[next].item<double>();
  }
  double log_p(int64_t last_of_prompt, const std::vector<int64_t>& choice) const {
    double sum = 0;
    for (const int64_t token : choice) {
      sum -= nats(last_of_prompt, token);
      last_of_prompt = token;
    }
    return sum;
  }
  // [n, answer width + 1, vocabulary]: behind the prompt, and behind each token of the answer.
  at::Tensor logits(const Inputs& ready) const {
    const at::Tensor last = ready.tokens.gather(1, ready.lengths.unsqueeze(1) - 1);
    at::Tensor behind = last.expand({-1, ready.answer.size(1) + 1}).clone();
    behind.narrow(1, 1, ready.answer.size(1)).copy_(ready.answer);
    return table_of_logits_.index_select(0, behind.flatten()).view({ready.size(), behind.size(1), -1});
  }
  Asker asker() {
    return [this](const Inputs& ready, Memory*) {
      asked_.push_back(ready);
      return logits(ready);
    };
  }
  Answers answers_to(const Inputs& inputs, const std::vector<int64_t>& labels, int64_t batch = 256) {
    return kind_->answer({.inputs = inputs, .labels = at::tensor(labels, at::kLong)},
                         {.feed = for_each_batch, .output = asker(), .batch = batch});
  }

  const TokenTable table_ = letter_table();
  const std::shared_ptr<const TaskKind> kind_ = kind_of(token_task("multiple_choice"), &table_);
  const int64_t a_ = letters("a")[0], b_ = letters("b")[0], accented_ = table_.size() - 1;
  at::Tensor table_of_logits_ = normal(1, 0, 0, table_.size() * table_.size()).view({table_.size(), -1});
  const Rows three_{letters("cat"), letters("d"), letters("elk herd")};
  const Inputs two_ =  // of three choices and of two
      with_choices(rows_of({letters("xa"), letters("yyyb")}), {three_, {letters("fg"), letters("hij")}});
  std::vector<Inputs> asked_;  // in the order of the passes
};

at::Tensor row(const std::vector<double>& values) {
  return at::tensor(values, at::kDouble);
}

TEST_F(MultipleChoice, chooses_the_likeliest_text) {
  const Answers answers = answers_to(two_, {1, 0});
  const std::vector<double> first{log_p(a_, three_[0]), log_p(a_, three_[1]), log_p(a_, three_[2])};
  const std::vector<double> second{log_p(b_, letters("fg")), log_p(b_, letters("hij"))};
  const auto best = [](const std::vector<double>& scores) {
    return static_cast<int32_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
  };
  EXPECT_EQ(answers.examples, 2);
  EXPECT_TRUE(answers.finite);
  EXPECT_THAT(answers.predictions, ElementsAre(best(first), best(second)));
  ASSERT_EQ(answers.outcomes.size(), 3U);
  EXPECT_EQ(answers.outcomes[0].metric, "accuracy");
  EXPECT_THAT(answers.outcomes[0].rows, ElementsAre(best(first) == 1 ? 1 : 0, best(second) == 0 ? 1 : 0));
  EXPECT_EQ(answers.outcomes[2].metric, "loss");
  const auto loss = [](const std::vector<double>& scores, size_t label) {
    return static_cast<float>(row(scores).logsumexp(0).item<double>() - scores[label]);
  };
  EXPECT_THAT(answers.outcomes[2].rows,
              ElementsAre(FloatNear(loss(first, 1), 1e-4F), FloatNear(loss(second, 0), 1e-4F)));
}

// A long text that is less likely as a whole, but likelier by the byte; of tokens that say nothing, and of two bytes.
TEST_F(MultipleChoice, divides_by_the_bytes_of_the_text_of_a_choice) {
  table_of_logits_.fill_(0);  // each token costs log of the vocabulary
  const int64_t space = letters(" ")[0];
  const auto normalised = [&](const Rows& choices) {
    const Answers answers = answers_to(with_choices(rows_of({{a_}}), {choices}), {1});
    EXPECT_EQ(answers.outcomes.at(1).metric, "accuracy_normalised");
    EXPECT_EQ(answers.metrics.at("accuracy"), choices[1].size() < choices[0].size() ? 1 : 0);
    return answers.metrics.at("accuracy_normalised");
  };
  EXPECT_EQ(normalised({{a_, a_}, {a_, accented_, accented_}}), 1) << "3 tokens for 5 bytes, 2 for 2";
  EXPECT_EQ(normalised({{accented_, kMark}, {kMark, a_, a_}}), 0) << "2 tokens for 2 bytes, 3 for 2";
  EXPECT_EQ(normalised({{accented_, a_}, {space, a_, a_, a_}}), 0) << "the first space is no text: 4 for 3";
}

TEST_F(MultipleChoice, reads_each_prompt_once) {
  answers_to(two_, {0, 0});
  ASSERT_EQ(asked_.size(), 2U) << "prompts, then choices";
  EXPECT_EQ(asked_[0].size(), 2);
  EXPECT_EQ(asked_[0].answer.size(1), 0);
  EXPECT_EQ(asked_[1].size(), 5);
  EXPECT_TRUE(asked_[1].answer_lengths.equal(at::tensor({2, 0, 7, 1, 2}, at::kLong)))
      << "the last token is only predicted";
  asked_.clear();
  answers_to(with_choices(rows_of({letters("x"), letters("y")}),
                          {{letters("a"), letters("b")}, {letters("c"), letters("d")}}),
             {0, 0});
  EXPECT_EQ(asked_.size(), 1U) << "choices of one token are predicted behind the prompt";
}

// A memory goes on from one prompt in several ways.
TEST_F(MultipleChoice, a_memory_is_of_the_prompts_and_then_of_the_choices) {
  std::vector<int64_t> held;
  kind_->answer({.inputs = two_, .labels = at::tensor({0, 0}, at::kLong)},
                {.feed = for_each_batch, .output = [&](const Inputs& ready, Memory* memory) {
                   EXPECT_FALSE(at::GradMode::is_enabled());
                   for (Memory* each : {memory, &memory->part(1)}) {
                     const at::Tensor kept = each->tensors["last"];
                     if (kept.defined()) {
                       held.push_back(memory->tokens);
                       EXPECT_TRUE(kept.equal(ready.tokens.select(1, 0)));
                     }
                     each->tensors["last"] = ready.tokens.select(1, 0);
                   }
                   const int64_t before = memory->tokens;
                   memory->tokens = ready.answer.size(1) + 1;
                   return logits(ready).narrow(1, before, memory->tokens - before);
                 }});
  EXPECT_THAT(held, ElementsAre(1, 1));
}

// Inputs whose prompts and choices have one width share a batch, so models see the examples in another order.
TEST_F(MultipleChoice, keeps_the_order_of_examples_of_several_widths) {
  Rows prompts;
  std::vector<Rows> choices;
  for (const int64_t length : {20, 1, 9, 3, 1}) {
    prompts.emplace_back(static_cast<size_t>(length), a_ + std::ssize(prompts));
    const std::vector<int64_t> long_choice(static_cast<size_t>(21 - length), b_);
    choices.push_back({letters("cd"), long_choice, letters("e")});
  }
  const Inputs inputs = with_choices(rows_of(prompts), choices);
  const Answers whole = answers_to(inputs, {0, 1, 2, 0, 1});
  EXPECT_GT(asked_.size(), 4U);
  for (size_t i = 0; i < prompts.size(); ++i) {
    const Answers alone =
        answers_to(with_choices(rows_of({prompts[i]}), {choices[i]}), {static_cast<int64_t>(i) % 3});
    EXPECT_EQ(whole.predictions.at(i), alone.predictions.at(0)) << i;
    EXPECT_EQ(whole.outcomes[2].rows.at(i), alone.outcomes[2].rows.at(0)) << i;
  }
  for (const int64_t batch : {1, 2}) {
    EXPECT_EQ(answers_to(inputs, {0, 1, 2, 0, 1}, batch).outcomes[2].rows, whole.outcomes[2].rows);
  }
}

TEST_F(MultipleChoice, bounds_the_tokens_of_a_pass) {
  const std::vector<int64_t> longest(16384 / 8, a_);
  Inputs inputs = with_choices(rows_of(Rows(6, {a_})), std::vector<Rows>(6, {longest, letters("b")}));
  answers_to(inputs, std::vector<int64_t>(6, 0));
  ASSERT_EQ(asked_.size(), 4U);
  EXPECT_EQ(asked_[0].size(), 4);
  EXPECT_EQ(asked_[2].size(), 2);
}

TEST_F(MultipleChoice, what_fills_rows_up_has_no_part) {
  const Answers before = answers_to(two_, {0, 1});
  Inputs filled = two_;
  const at::Tensor counting = counting_positions(two_.choice_lengths.flatten(), two_.choices.size(2));
  filled.choices = two_.choices.masked_fill(counting.view_as(two_.choices).logical_not(), kMark);
  filled.tokens = two_.tokens.masked_fill(two_.counting().logical_not(), kMark);
  table_of_logits_[kMark].fill_(std::numeric_limits<float>::quiet_NaN());
  const Answers after = answers_to(filled, {0, 1});
  EXPECT_TRUE(after.finite);
  EXPECT_EQ(after.outcomes[2].rows, before.outcomes[2].rows);
}

TEST_F(MultipleChoice, says_where_an_output_is_not_finite) {
  table_of_logits_[letters("f")[0]].fill_(std::numeric_limits<float>::quiet_NaN());
  EXPECT_FALSE(answers_to(two_, {0, 0}).finite) << "within a choice";
  EXPECT_TRUE(answers_to(with_choices(rows_of({{a_}}), {{letters("gf"), letters("h")}}), {0}).finite)
      << "behind its last token";
}

TEST_F(MultipleChoice, has_a_distribution_over_the_choices_of_each_example) {
  const Inputs completed = kind_->completed(two_, asker());
  EXPECT_TRUE(asked_.empty()) << "all choices are there, whatever the model says";
  EXPECT_EQ(completed.size(), 5) << "a row for each choice";
  const at::Tensor log_p_ = kind_->log_probabilities(logits(completed), completed);
  ASSERT_EQ(log_p_.sizes().vec(), (std::vector<int64_t>{2, 3}));
  const at::Tensor first =
      row({log_p(a_, three_[0]), log_p(a_, three_[1]), log_p(a_, three_[2])}).log_softmax(0);
  const at::Tensor second = row({log_p(b_, letters("fg")), log_p(b_, letters("hij"))}).log_softmax(0);
  EXPECT_TRUE(log_p_[0].to(at::kDouble).allclose(first, 1e-5, 1e-5));
  EXPECT_TRUE(log_p_[1].narrow(0, 0, 2).to(at::kDouble).allclose(second, 1e-5, 1e-5));
  EXPECT_EQ(log_p_[1][2].exp().item<double>(), 0) << "it has no third one";
  const double entropy = -((first.exp() * first).sum() + (second.exp() * second).sum()).item<double>() / 2;
  EXPECT_NEAR(mean_entropy(log_p_).item<double>(), entropy, 1e-5);
}

TEST_F(MultipleChoice, trains_with_the_cross_entropy_of_the_choices) {
  const Examples examples{.inputs = two_, .labels = at::tensor({2, 0}, at::kLong)};
  const Inputs taught = kind_->taught(examples);
  const at::Tensor losses = kind_->losses(logits(taught), examples);
  const at::Tensor log_p_ = kind_->log_probabilities(logits(taught), taught);
  ASSERT_EQ(losses.sizes().vec(), std::vector<int64_t>{2});
  EXPECT_NEAR(losses[0].item<double>(), -log_p_[0][2].item<double>(), 1e-5);
  EXPECT_NEAR(losses[1].item<double>(), -log_p_[1][0].item<double>(), 1e-5);
}

TEST_F(MultipleChoice, its_labels_are_not_in_its_inputs) {
  EXPECT_FALSE(kind_->inputs_are_labels());
  EXPECT_TRUE(kind_->has_classes());
}

// ---- against transformers (tests/golden/make_multiple_choice.py)

class MultipleChoiceGolden : public testing::TestWithParam<std::string> {
 protected:
  MultipleChoiceGolden() {
    const HfFolder folder(source_folder() / "tests/golden" / GetParam());
    network_.architecture = make_architecture(folder.config());
    const Architecture& architecture = *network_.architecture;
    weights_ = read_parameters(architecture, folder);
    network_.readouts["task"] =
        own_readout(*architecture.own_head(), architecture.feature_size(), architecture.input().vocabulary);
  }
  Inputs inputs() const {
    return with_choices(rows_of(golden_["prompts"].get<Rows>()), golden_["choices"].get<std::vector<Rows>>());
  }
  at::Tensor log_p(size_t example) const {
    return row(golden_["log_p"][GetParam()][example].get<std::vector<double>>());
  }

  const nlohmann::json golden_ =
      nlohmann::json::parse(std::ifstream(source_folder() / "tests/golden/multiple_choice.json"));
  const TokenTable table_ = letter_table();
  const std::shared_ptr<const TaskKind> kind_ = kind_of(token_task("multiple_choice"), &table_);
  Network network_;
  Weights weights_;
};

TEST_P(MultipleChoiceGolden, DistributionsOverChoicesAgree) {
  const Asker output = asker_of(network_, weights_, "task");
  const Inputs completed = kind_->completed(network_.ready(inputs()), output);
  const at::Tensor seen = kind_->log_probabilities(output(completed, nullptr), completed);
  ASSERT_EQ(seen.size(0), 5);
  for (size_t i = 0; i < 5; ++i) {
    const at::Tensor expected = log_p(i).log_softmax(0);
    EXPECT_LE(max_error(seen[static_cast<int64_t>(i)].narrow(0, 0, expected.size(0)), expected), 1e-4) << i;
  }
}

TEST_P(MultipleChoiceGolden, AnswersAgree) {
  for (size_t example = 0; example < 5; ++example) {
    const at::Tensor expected = log_p(example);
    const Inputs one = inputs().rows(static_cast<int64_t>(example), 1);
    for (int64_t label = 0; label < expected.size(0); ++label) {
      const Answers answers =
          kind_->answer({.inputs = one, .labels = at::tensor({label}, at::kLong)},
                        {.feed = feed_of(network_), .output = asker_of(network_, weights_, "task")});
      EXPECT_NEAR(answers.metrics.at("loss"), -expected.log_softmax(0)[label].item<double>(), 1e-4);
      EXPECT_EQ(answers.predictions.at(0), expected.argmax().item<int64_t>());
      const at::Tensor by_byte =
          expected / one.choice_lengths[0].narrow(0, 0, expected.size(0));  // of a byte each
      EXPECT_EQ(answers.metrics.at("accuracy_normalised"), by_byte.argmax().item<int64_t>() == label ? 1 : 0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, MultipleChoiceGolden,
                         testing::Values("decoder/gpt2", "decoder/llama", "t5/gated_untied", "t5/relu_tied"),
                         [](const auto& model) {
                           std::string name = model.param;
                           std::replace(name.begin(), name.end(), '/', '_');
                           return name;
                         });

}  // namespace
}  // namespace fusegrid::multiple_choice_test
