// A text for a text: the output is logits of tokens, and the answer is decoded greedily.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <numeric>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>

#include "core/errors.h"
#include "core/text.h"
#include "metrics/correlation.h"
#include "metrics/text_overlap.h"
#include "tasks/kind.h"

namespace fusegrid::kinds::generate {
namespace {

// What a model decoded: int64 [n, steps], filled up behind the end, which counts; how many count: int64 [n].
struct Decoded {
  at::Tensor tokens, lengths;
  at::Tensor finite;  // bool []: whether all logits were
};

class Generate final : public TaskKind {
 public:
  Generate() = default;
  Generate(const TaskInfo& task, const TokenTable* tokens)
      : tokens_(tokens),
        end_(task.attributes.at("answer_end").get<int64_t>()),
        longest_(task.attributes.at("longest_answer").get<int64_t>()) {
    FUSEGRID_ASSERT(tokens != nullptr, "answers are rows of tokens");
  }

  std::string doc() const override { return "a text"; }
  std::unique_ptr<const TaskKind> of_task(const TaskInfo& task, const TokenTable* tokens) const override {
    return std::make_unique<Generate>(task, tokens);
  }
  std::vector<std::string> metrics() const override {
    return {"exact_match", "token_f1", "chrf", "rouge_l", "spearman"};
  }
  bool has_distribution() const override { return true; }
  bool has_classes() const override { return false; }
  bool has_tokens() const override { return true; }
  int64_t outputs(int64_t) const override { return 0; }

  Inputs taught(const Examples& ready) const override;
  at::Tensor losses(const at::Tensor& output, const Examples& examples) const override;
  Inputs completed(const Inputs& ready, const Asker& output) const override;
  at::Tensor log_probabilities(const at::Tensor& output, const Inputs& inputs) const override;
  Answers answer(const Examples& examples, const Asking& asking) const override;

 private:
  Decoded decoded(const Inputs& ready, const Asker& output) const;
  std::string text(const int64_t* row, int64_t length) const;

  const TokenTable* tokens_ = nullptr;
  int64_t end_ = 0, longest_ = 0;
};

// The answer's last token is only ever predicted.
Inputs without_last(Inputs inputs, const at::Tensor& tokens, const at::Tensor& lengths) {
  inputs.answer = tokens.narrow(1, 0, tokens.size(1) - 1);
  inputs.answer_lengths = lengths - 1;
  return inputs;
}

Inputs Generate::taught(const Examples& ready) const {
  return without_last(ready.inputs, ready.wanted, ready.wanted_lengths);
}

// The mean over an example's tokens. Rows of output may be more than the answers have: others share the pass.
at::Tensor Generate::losses(const at::Tensor& output, const Examples& examples) const {
  const at::Tensor wanted = examples.wanted.to(output.device());
  const at::Tensor lengths = examples.wanted_lengths.to(output.device());
  const int64_t width = wanted.size(1);
  const at::Tensor of_tokens = at::cross_entropy_loss(output.narrow(1, 0, width).flatten(0, 1),
                                                      wanted.flatten(), {}, at::Reduction::None)
                                   .view({-1, width});
  const at::Tensor counts = Inputs{{}, wanted, lengths}.counting();
  return at::where(counts, of_tokens, 0).sum(1) / lengths;
}

Inputs Generate::completed(const Inputs& ready, const Asker& output) const {
  const at::NoGradGuard no_grad;
  const Decoded answer = decoded(ready, output);
  return without_last(ready, answer.tokens, answer.lengths);
}

at::Tensor Generate::log_probabilities(const at::Tensor& output, const Inputs& inputs) const {
  const at::Tensor rows = at::nonzero(inputs.counting(Rows::kAnswer).flatten()).squeeze(1);
  return at::log_softmax(output.flatten(0, 1).index_select(0, rows), 1);
}

// All answers of a batch grow together until each has ended, so a token's bits depend on its place alone.
Decoded Generate::decoded(const Inputs& ready, const Asker& output) const {
  const int64_t count = ready.size();
  const at::Device device = ready.images.defined() ? ready.images.device() : ready.tokens.device();
  const auto whole = at::TensorOptions(device).dtype(at::kLong);
  Inputs inputs = ready;
  inputs.answer = at::empty({count, 0}, whole);
  inputs.answer_lengths = at::full({count}, 0, whole);
  at::Tensor ended = at::full({count}, false, whole.dtype(at::kBool));
  at::Tensor lengths = at::full({count}, 0, whole);
  at::Tensor finite = at::full({}, true, whole.dtype(at::kBool));
  std::vector<at::Tensor> tokens;
  Memory memory;
  for (int64_t step = 0; step < longest_ && !ended.all().item<bool>(); ++step) {
    const at::Tensor logits = output(inputs, &memory).select(1, -1);
    finite = finite.logical_and((logits.isfinite().all(1)).logical_or(ended).all());
    const at::Tensor next = at::where(ended, tokens_->pad, at::argmax(logits, 1));
    lengths = lengths + ended.logical_not();
    ended = ended.logical_or(next == end_);
    tokens.push_back(next);
    inputs.answer = at::stack(tokens, 1);
    inputs.answer_lengths = inputs.answer_lengths + 1;
  }
  return {inputs.answer, lengths, finite};
}

// A model may have more tokens than the table, whose rest is no text.
std::string Generate::text(const int64_t* row, int64_t length) const {
  std::vector<int32_t> ids;
  std::copy_if(row, row + length, std::back_inserter(ids), [&](int64_t id) { return id < tokens_->size(); });
  return trim(tokens_->text(ids));
}

// ---- scores

double number_of(const std::string& text, bool& is_number) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  is_number = error == std::errc() && end == text.data() + text.size() && std::isfinite(number);
  return is_number ? number : 0;
}

// Of each number among all, divided by how many there are; equal ones have the mean of theirs.
std::vector<float> relative_ranks(const std::vector<double>& numbers) {
  std::vector<size_t> order(numbers.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return numbers[a] < numbers[b]; });
  std::vector<float> ranks(numbers.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin;
    while (end < order.size() && numbers[order[end]] == numbers[order[begin]]) {
      ++end;
    }
    for (size_t i = begin; i < end; ++i) {
      ranks[order[i]] =
          static_cast<float>(static_cast<double>(begin + end + 1) / 2 / static_cast<double>(numbers.size()));
    }
    begin = end;
  }
  return ranks;
}

void add_spearman(Answers& answers, const std::vector<std::string>& texts,
                  const std::vector<std::string>& wanted) {
  std::vector<double> x, y;
  bool all_numbers = true;
  for (size_t i = 0; i < texts.size(); ++i) {
    bool is_number = false;
    x.push_back(number_of(texts[i], is_number));
    y.push_back(number_of(wanted[i], is_number));
    all_numbers = all_numbers && is_number;
  }
  Outcomes pairs{"", "spearman", kPairWidth, {}};
  if (!all_numbers) {
    answers.undefined["spearman"] = metric_registry().at("spearman").undefined;
    return;
  }
  const auto ranks_of_x = relative_ranks(x);
  const auto ranks_of_y = relative_ranks(y);
  for (size_t i = 0; i < x.size(); ++i) {
    add_pair(pairs.rows, ranks_of_x[i], ranks_of_y[i]);
  }
  add_metric(answers, "spearman", number_rows(kPairWidth, pairs.rows));
  answers.outcomes.push_back(std::move(pairs));
}

Answers scored(const std::vector<std::string>& texts, const std::vector<std::string>& wanted) {
  Answers answers;
  answers.examples = static_cast<int64_t>(texts.size());
  Outcomes exact{"", "exact_match", 1, {}};
  Outcomes f1{"", "token_f1", 1, {}};
  Outcomes ngrams{"", "chrf", 3 * kLongestNgram, {}};
  Outcomes rouge{"", "rouge_l", 1, {}};
  for (size_t i = 0; i < texts.size(); ++i) {
    exact.rows.push_back(texts[i] == wanted[i] ? 1 : 0);
    f1.rows.push_back(static_cast<float>(word_f1(texts[i], wanted[i])));
    const NgramCounts counts = ngram_counts(texts[i], wanted[i]);
    ngrams.rows.insert(ngrams.rows.end(), counts.begin(), counts.end());
    rouge.rows.push_back(static_cast<float>(rouge_l(texts[i], wanted[i])));
  }
  for (Outcomes* outcomes : {&exact, &f1, &ngrams, &rouge}) {
    add_metric(answers, outcomes->metric, number_rows(outcomes->width, outcomes->rows));
    answers.outcomes.push_back(std::move(*outcomes));
  }
  add_spearman(answers, texts, wanted);
  return answers;
}

Answers Generate::answer(const Examples& examples, const Asking& asking) const {
  const at::NoGradGuard no_grad;
  const int64_t count = examples.inputs.size();
  FUSEGRID_ASSERT(count > 0 && examples.wanted.size(0) == count, std::to_string(count) + " examples");
  const at::Tensor wanted_tokens = examples.wanted.cpu().contiguous();
  const at::Tensor wanted_lengths = examples.wanted_lengths.cpu().contiguous();
  std::vector<std::string> texts(static_cast<size_t>(count)), wanted;
  for (int64_t i = 0; i < count; ++i) {
    wanted.push_back(text(wanted_tokens.const_data_ptr<int64_t>() + i * wanted_tokens.size(1),
                          wanted_lengths.const_data_ptr<int64_t>()[i]));
  }
  bool finite = true;
  asking.feed(examples.inputs, asking.batch, [&](const Inputs& ready, const at::Tensor& places) {
    const Decoded answer = decoded(ready, asking.output);
    const at::Tensor tokens = answer.tokens.cpu().contiguous();
    const at::Tensor lengths = answer.lengths.cpu();
    for (int64_t i = 0; i < ready.size(); ++i) {
      texts[static_cast<size_t>(places.const_data_ptr<int64_t>()[i])] =
          text(tokens.const_data_ptr<int64_t>() + i * tokens.size(1), lengths.const_data_ptr<int64_t>()[i]);
    }
    finite = finite && answer.finite.item<bool>();
    asking.on_batch();
  });
  Answers answers = scored(texts, wanted);
  answers.finite = finite;
  return answers;
}

const bool registered = [] {
  static const Generate kind;
  kind_registry().add("generate", &kind);
  return true;
}();

}  // namespace
}  // namespace fusegrid::kinds::generate
