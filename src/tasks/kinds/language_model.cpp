// The next token of a text: the output is logits of tokens, and every row of tokens is its own label.

#include <algorithm>
#include <cmath>
#include <numbers>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/where.h>

#include "core/concatenate.h"
#include "core/errors.h"
#include "tasks/kind.h"

namespace fusegrid::kinds::language_model {
namespace {

// Logits of a pass are held for all its tokens at once: with 128,000 entries of a vocabulary, 8 GiB.
constexpr int64_t kMostTokens = 16384;

class LanguageModel final : public TaskKind {
 public:
  LanguageModel() = default;
  LanguageModel(const TaskInfo& task, const TokenTable* tokens)
      : tokens_(tokens), longest_(task.longest_row) {
    FUSEGRID_ASSERT(tokens != nullptr, "a language model reads rows of tokens");
  }

  std::string doc() const override { return "the next token of a text"; }
  std::unique_ptr<const TaskKind> of_task(const TaskInfo& task, const TokenTable* tokens) const override {
    return std::make_unique<LanguageModel>(task, tokens);
  }
  std::vector<std::string> metrics() const override { return {"perplexity", "bits_per_byte"}; }
  bool has_distribution() const override { return true; }
  bool has_classes() const override { return false; }
  bool has_tokens() const override { return true; }
  bool inputs_are_labels() const override { return true; }
  int64_t outputs(int64_t) const override { return 0; }

  at::Tensor losses(const at::Tensor& output, const Examples& examples) const override;
  at::Tensor log_probabilities(const at::Tensor& output, const Inputs& inputs) const override;
  Answers answer(const Examples& examples, const Asking& asking) const override;

 private:
  int64_t bytes(const int64_t* row, int64_t length) const;

  const TokenTable* tokens_ = nullptr;
  int64_t longest_ = 1;
};

// bool [n, width - 1]: the places whose next token counts.
at::Tensor predicting(const Inputs& inputs) {
  return inputs.counting().narrow(1, 1, inputs.tokens.size(1) - 1);
}

// -log p of each token but the first, 0 where none counts: [n, width - 1].
at::Tensor token_losses(const at::Tensor& output, const Inputs& inputs) {
  const int64_t width = inputs.tokens.size(1);
  const at::Tensor next = inputs.tokens.narrow(1, 1, width - 1);
  const at::Tensor losses = at::cross_entropy_loss(output.narrow(1, 0, width - 1).flatten(0, 1),
                                                   next.flatten(), {}, at::Reduction::None)
                                .view({-1, width - 1});
  return at::where(predicting(inputs), losses, 0);
}

// Of a row of one token, nothing of which is predicted, 0.
at::Tensor LanguageModel::losses(const at::Tensor& output, const Examples& examples) const {
  return token_losses(output, examples.inputs).sum(1) / (examples.inputs.lengths - 1).clamp_min(1);
}

at::Tensor LanguageModel::log_probabilities(const at::Tensor& output, const Inputs& inputs) const {
  const at::Tensor rows = at::nonzero(predicting(inputs).flatten()).squeeze(1);
  return at::log_softmax(output.narrow(1, 0, inputs.tokens.size(1) - 1).flatten(0, 1).index_select(0, rows),
                         1);
}

// Of the text of a row, without its first token, which nothing predicts.
int64_t LanguageModel::bytes(const int64_t* row, int64_t length) const {
  int64_t bytes = 0;
  for (int64_t i = 1; i < length; ++i) {
    if (!tokens_->special.contains(row[i])) {
      bytes += static_cast<int64_t>(tokens_->entries.at(static_cast<size_t>(row[i])).size());
    }
  }
  return bytes;
}

// The device is not waited for between batches.
Answers LanguageModel::answer(const Examples& examples, const Asking& asking) const {
  const at::NoGradGuard no_grad;
  const int64_t count = examples.inputs.size();
  FUSEGRID_ASSERT(count > 0, "no examples");
  const at::Tensor tokens = examples.inputs.tokens.cpu().contiguous();
  const at::Tensor lengths = examples.inputs.lengths.cpu().contiguous();
  const auto* length = lengths.const_data_ptr<int64_t>();
  if (const auto* shortest = std::min_element(length, length + count); *shortest < 2) {
    throw DataError(
        "a row of a language model's task must have two tokens, of which the second is predicted, but row " +
        std::to_string(shortest - length) + " has one; make the task pack without it");
  }
  std::vector<at::Tensor> places, sums;
  const int64_t batch = std::clamp<int64_t>(kMostTokens / longest_, 1, asking.batch);
  asking.feed(examples.inputs, batch, [&](const Inputs& ready, const at::Tensor& rows) {
    places.push_back(rows);
    sums.push_back(token_losses(asking.output(ready, nullptr), ready).to(at::kDouble).sum(1));
    asking.on_batch();
  });
  const at::Tensor nats =
      at::empty({count}, at::kDouble).index_copy_(0, concatenate(places), concatenate(sums).cpu());
  Outcomes by_token{"", "perplexity", 2, {}};
  Outcomes by_byte{"", "bits_per_byte", 2, {}};
  for (int64_t i = 0; i < count; ++i) {
    const double loss = nats.const_data_ptr<double>()[i];
    by_token.rows.insert(by_token.rows.end(), {static_cast<float>(loss), static_cast<float>(length[i] - 1)});
    by_byte.rows.insert(
        by_byte.rows.end(),
        {static_cast<float>(loss / std::numbers::ln2),
         static_cast<float>(bytes(tokens.const_data_ptr<int64_t>() + i * tokens.size(1), length[i]))});
  }
  Answers answers;
  answers.examples = count;
  answers.finite = nats.isfinite().all().item<bool>();
  add_metric(answers, "perplexity", number_rows(by_token.width, by_token.rows));
  add_metric(answers, "bits_per_byte", number_rows(by_byte.width, by_byte.rows));
  answers.outcomes = {std::move(by_token), std::move(by_byte)};
  return answers;
}

const bool registered = [] {
  static const LanguageModel kind;
  kind_registry().add("language_model", &kind);
  return true;
}();

}  // namespace
}  // namespace fusegrid::kinds::language_model
