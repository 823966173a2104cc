#include "zoo/span_batches.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/errors.h"
#include "core/philox.h"
#include "zoo/sampling.h"

namespace fusegrid {
namespace {

// Lengths of `parts` parts of at least one that sum to `whole`; numbers: parts - 1 of them are used up.
std::vector<int64_t> random_lengths(int64_t whole, int64_t parts, std::span<const float>& numbers) {
  // cuts between the tokens, drawn without repetition (Floyd's sampling)
  std::vector<int64_t> cuts;
  for (int64_t last = whole - parts + 1; last < whole; ++last) {
    const int64_t drawn = 1 + scaled(numbers.front(), last);
    numbers = numbers.subspan(1);
    cuts.push_back(std::find(cuts.begin(), cuts.end(), drawn) == cuts.end() ? drawn : last);
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.push_back(whole);
  std::vector<int64_t> lengths;
  int64_t begin = 0;
  for (const int64_t cut : cuts) {
    lengths.push_back(cut - begin);
    begin = cut;
  }
  return lengths;
}

}  // namespace

SpanTokens span_tokens(const TokenTable& table) {
  std::map<std::string, int32_t> by_name;
  for (const int64_t id : table.special) {
    by_name[table.entries[static_cast<size_t>(id)]] = static_cast<int32_t>(id);
  }
  SpanTokens tokens{table.pad, 0, {}};
  for (size_t i = 0; by_name.contains("<extra_id_" + std::to_string(i) + ">"); ++i) {
    tokens.sentinels.push_back(by_name.at("<extra_id_" + std::to_string(i) + ">"));
  }
  if (!by_name.contains("</s>") || tokens.sentinels.empty()) {
    throw ConfigError(
        "a tokenizer of encoder-decoders must have the special tokens </s> and <extra_id_0>, <extra_id_1>, "
        "..., but "
        "that of the pool has not; make it with tools/make_seq2seq_pool.py");
  }
  tokens.end = by_name.at("</s>");
  return tokens;
}

void check_span_pool(const PretrainingPool& pool) {
  check_pool_kinds(pool, {"text", "pairs"}, "encoder-decoders", "tools/make_seq2seq_pool.py");
  span_tokens(*pool.tokens());
}

std::pair<std::vector<int32_t>, std::vector<int32_t>> hide_spans(std::span<const int32_t> row,
                                                                 const SpanTokens& tokens, double share,
                                                                 double mean_span,
                                                                 std::span<const float> numbers) {
  const auto count = static_cast<int64_t>(row.size()) - 1;  // without the end
  FUSEGRID_ASSERT(count >= 2 && row.back() == tokens.end, "a text of two tokens and an end");
  const auto hidden = std::clamp<int64_t>(std::llround(share * static_cast<double>(count)), 1, count - 1);
  const int64_t spans =
      std::clamp<int64_t>(std::llround(static_cast<double>(hidden) / mean_span), 1,
                          std::min({hidden, count - hidden, static_cast<int64_t>(tokens.sentinels.size())}));
  const auto kept_lengths = random_lengths(count - hidden, spans, numbers);
  const auto hidden_lengths = random_lengths(hidden, spans, numbers);
  std::vector<int32_t> input, answer;
  auto next = row.begin();
  for (size_t i = 0; i < kept_lengths.size(); ++i) {
    input.insert(input.end(), next, next + kept_lengths[i]);
    next += kept_lengths[i];
    input.push_back(tokens.sentinels[i]);
    answer.push_back(tokens.sentinels[i]);
    answer.insert(answer.end(), next, next + hidden_lengths[i]);
    next += hidden_lengths[i];
  }
  input.push_back(tokens.end);
  answer.push_back(tokens.end);
  return {input, answer};
}

SpanPoolBatches::SpanPoolBatches(const PretrainingPool& pool, const Options& options) : options_(options) {
  check_span_pool(pool);
  tokens_ = span_tokens(*pool.tokens());
  texts_ = PoolMix::read(pool, "text");
  pairs_ = PoolMix::read(pool, "pairs");
}

Examples SpanPoolBatches::at(int64_t step) const {
  std::vector<std::pair<std::vector<int32_t>, std::vector<int32_t>>> hidden;
  const uint64_t key = derive_key(options_.seed, "pretrain/spans");
  for (const int64_t text : texts_.draw("texts", options_.seed, options_.texts, step)) {
    const auto row = texts_.tokens.row(text);
    const auto stream = static_cast<uint64_t>(step * options_.texts) + hidden.size();
    const at::Tensor numbers = uniform(key, stream, 0, static_cast<int64_t>(row.size()));
    hidden.push_back(hide_spans(row, tokens_, options_.hidden, options_.mean_span,
                                {numbers.const_data_ptr<float>(), row.size()}));
  }
  std::vector<std::span<const int32_t>> inputs, answers;
  for (const auto& [input, answer] : hidden) {
    inputs.emplace_back(input);
    answers.emplace_back(answer);
  }
  for (const int64_t pair : pairs_.draw("pairs", options_.seed, options_.pairs, step)) {
    inputs.push_back(pairs_.tokens.row(pair));
    answers.push_back(pairs_.partners.row(pair));
  }
  const Inputs read = filled_up(inputs, tokens_.pad);
  const Inputs wanted = filled_up(answers, tokens_.pad);
  return {.inputs = {{}, sent(read.tokens, options_.device), sent(read.lengths, options_.device)},
          .wanted = sent(wanted.tokens, options_.device),
          .wanted_lengths = sent(wanted.lengths, options_.device)};
}

}  // namespace fusegrid
