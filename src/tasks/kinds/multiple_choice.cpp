// One of several texts behind a prompt: the output is logits of tokens, and the answer is the likeliest text.

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include "core/concatenate.h"
#include "core/errors.h"
#include "tasks/kind.h"

namespace fusegrid::kinds::multiple_choice {
namespace {

// Logits of a pass are held for all its tokens at once: with 128,000 entries of a vocabulary, 8 GiB.
constexpr int64_t kMostTokens = 16384;
// Stands for log p of a choice that an example has not: its p is 0, and p log p is no NaN.
constexpr double kNever = -1e9;

class MultipleChoice final : public TaskKind {
 public:
  MultipleChoice() = default;
  explicit MultipleChoice(const TokenTable* tokens) : tokens_(tokens) {
    FUSEGRID_ASSERT(tokens != nullptr, "choices are rows of tokens");
  }

  std::string doc() const override { return "one of several texts"; }
  std::unique_ptr<const TaskKind> of_task(const TaskInfo&, const TokenTable* tokens) const override {
    return std::make_unique<MultipleChoice>(tokens);
  }
  std::vector<std::string> metrics() const override { return {"accuracy", "accuracy_normalised", "loss"}; }
  bool has_distribution() const override { return true; }
  bool has_classes() const override { return true; }
  bool has_tokens() const override { return true; }
  int64_t outputs(int64_t) const override { return 0; }

  Inputs taught(const Examples& ready) const override;
  at::Tensor losses(const at::Tensor& output, const Examples& examples) const override;
  Inputs completed(const Inputs& ready, const Asker& output) const override;
  at::Tensor log_probabilities(const at::Tensor& output, const Inputs& inputs) const override;
  Answers answer(const Examples& examples, const Asking& asking) const override;

 private:
  at::Tensor bytes(const Inputs& inputs) const;

  const TokenTable* tokens_ = nullptr;
};

// The choices of all examples, one after the other.
struct Choices {
  explicit Choices(const Inputs& inputs)
      : places(at::nonzero(inputs.choice_lengths.flatten()).squeeze(1)),
        examples(places.floor_divide(inputs.choices.size(1))),
        tokens(inputs.choices.flatten(0, 1).index_select(0, places)),
        lengths(inputs.choice_lengths.flatten().index_select(0, places)) {}

  int64_t width() const { return tokens.size(1); }

  at::Tensor places;  // int64 [choices]: where they stand in all examples' rows of as many as any example has
  at::Tensor examples;  // int64 [choices]: whose they are
  at::Tensor tokens;    // int64 [choices, width]
  at::Tensor lengths;   // int64 [choices]
};

// Each choice behind its prompt, without its last token, which is only ever predicted.
Inputs answered(const Inputs& ready, const Choices& choices) {
  Inputs inputs = ready;
  inputs.tokens = ready.tokens.index_select(0, choices.examples);
  inputs.lengths = ready.lengths.index_select(0, choices.examples);
  inputs.answer = choices.tokens.narrow(1, 0, choices.width() - 1);
  inputs.answer_lengths = choices.lengths - 1;
  return inputs;
}

// log p of tokens `begin`, `begin` + 1, ... of the choices, 0 where none counts; logits: [choices, tokens, vocabulary].
at::Tensor token_log_p(const at::Tensor& logits, const Choices& choices, int64_t begin) {
  const int64_t count = logits.size(1);
  const at::Tensor of_tokens =
      -at::cross_entropy_loss(logits.flatten(0, 1), choices.tokens.narrow(1, begin, count).flatten(), {},
                              at::Reduction::None)
           .view({-1, count});
  return at::where(counting_positions(choices.lengths - begin, count), of_tokens, 0);
}

// Numbers of the choices as those of the examples: [n, choices].
at::Tensor by_example(const at::Tensor& of_choices, const Choices& choices, const Inputs& inputs) {
  return at::full({inputs.choice_lengths.numel()}, kNever, of_choices.options())
      .index_copy(0, choices.places, of_choices)
      .view(inputs.choice_lengths.sizes());
}

// log p of each choice, of an output for what is answered(): [n, choices]. Rows of output may be more than the choices
// have: others share the pass.
at::Tensor likelihoods(const at::Tensor& output, const Inputs& inputs) {
  const Choices choices(inputs);
  const at::Tensor logits = output.narrow(1, 0, choices.width());
  return by_example(token_log_p(logits, choices, 0).sum(1), choices, inputs);
}

// The same, float64, of a model that reads each prompt once: the first tokens of its choices are predicted together.
at::Tensor likelihoods(const Inputs& ready, const Asker& output) {
  Memory memory;
  Inputs prompts = ready;
  prompts.answer = at::empty({ready.size(), 0}, ready.tokens.options());
  prompts.answer_lengths = at::zeros({ready.size()}, ready.lengths.options());
  const Choices choices(ready);
  const at::Tensor first = output(prompts, &memory).select(1, -1).index_select(0, choices.examples);
  at::Tensor sums = token_log_p(first.unsqueeze(1), choices, 0).to(at::kDouble).sum(1);
  if (choices.lengths.max().item<int64_t>() > 1) {
    memory.select(choices.examples);
    const at::Tensor logits = output(answered(ready, choices), &memory);
    const int64_t left = choices.width() - 1;
    const at::Tensor others = token_log_p(logits.narrow(1, logits.size(1) - left, left), choices, 1);
    sums = sums + others.to(at::kDouble).sum(1);
  }
  return by_example(sums, choices, ready);
}

Inputs MultipleChoice::taught(const Examples& ready) const {
  return answered(ready.inputs, Choices(ready.inputs));
}

at::Tensor MultipleChoice::losses(const at::Tensor& output, const Examples& examples) const {
  return at::cross_entropy_loss(likelihoods(output, examples.inputs), examples.labels.to(output.device()), {},
                                at::Reduction::None);
}

// By all choices: which is the right one is not asked.
Inputs MultipleChoice::completed(const Inputs& ready, const Asker&) const {
  return answered(ready, Choices(ready));
}

at::Tensor MultipleChoice::log_probabilities(const at::Tensor& output, const Inputs& inputs) const {
  return at::log_softmax(likelihoods(output, inputs), 1);
}

// Of the choices' texts, 1 where there is none: float64 [n, choices].
at::Tensor MultipleChoice::bytes(const Inputs& inputs) const {
  const at::Tensor tokens = inputs.choices.cpu().contiguous();
  const at::Tensor lengths = inputs.choice_lengths.cpu().contiguous();
  std::vector<double> bytes;
  for (int64_t i = 0; i < lengths.numel(); ++i) {
    const auto* row = tokens.const_data_ptr<int64_t>() + i * tokens.size(2);
    const std::vector<int32_t> ids(row, row + lengths.const_data_ptr<int64_t>()[i]);
    bytes.push_back(static_cast<double>(std::max<size_t>(tokens_->text(ids).size(), 1)));
  }
  return at::tensor(bytes, at::kDouble).view(lengths.sizes());
}

Outcomes right_answers(const std::string& metric, const at::Tensor& answers, const at::Tensor& labels) {
  const at::Tensor right = (answers == labels).to(at::kFloat).contiguous();
  const auto* first = right.const_data_ptr<float>();
  return {"", metric, 1, {first, first + right.numel()}};
}

// The device is not waited for between batches of choices of one token.
Answers MultipleChoice::answer(const Examples& examples, const Asking& asking) const {
  const at::NoGradGuard no_grad;
  const Inputs& inputs = examples.inputs;
  const int64_t count = inputs.size();
  FUSEGRID_ASSERT(count > 0 && examples.labels.size(0) == count, std::to_string(count) + " examples");
  const int64_t tokens = inputs.choices.size(1) * inputs.choices.size(2);  // of an example
  std::vector<at::Tensor> places, scores;
  asking.feed(inputs, std::clamp<int64_t>(kMostTokens / tokens, 1, asking.batch),
              [&](const Inputs& ready, const at::Tensor& rows) {
                places.push_back(rows);
                scores.push_back(likelihoods(ready, asking.output));
                asking.on_batch();
              });
  const at::Tensor log_p = at::empty({count, inputs.choices.size(1)}, at::kDouble)
                               .index_copy_(0, concatenate(places), concatenate(scores).cpu());
  const at::Tensor labels = examples.labels.cpu();
  const at::Tensor chosen = at::argmax(log_p, 1);
  const at::Tensor losses =
      at::cross_entropy_loss(log_p, labels, {}, at::Reduction::None).to(at::kFloat).contiguous();
  Answers answers;
  answers.examples = count;
  answers.finite = log_p.isfinite().all().item<bool>();
  const auto* answer = chosen.const_data_ptr<int64_t>();
  answers.predictions.assign(answer, answer + count);
  const auto* loss = losses.const_data_ptr<float>();
  answers.outcomes = {right_answers("accuracy", chosen, labels),
                      right_answers("accuracy_normalised", at::argmax(log_p / bytes(inputs), 1), labels),
                      {"", "loss", 1, {loss, loss + count}}};
  for (const Outcomes& outcomes : answers.outcomes) {
    add_metric(answers, outcomes.metric, number_rows(outcomes.width, outcomes.rows));
  }
  return answers;
}

const bool registered = [] {
  static const MultipleChoice kind;
  kind_registry().add("multiple_choice", &kind);
  return true;
}();

}  // namespace
}  // namespace fusegrid::kinds::multiple_choice
