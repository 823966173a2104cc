#include "zoo/token_batches.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>

#include "core/concatenate.h"
#include "core/errors.h"
#include "core/philox.h"
#include "core/text.h"

namespace fusegrid {
namespace {

TokenRows appended(const TokenRows& rows, const TokenRows& more) {
  if (!rows.defined()) {
    return more;
  }
  const at::Tensor ends = more.offsets.narrow(0, 1, more.size()) + rows.ids.size(0);
  return {concatenate({rows.ids, more.ids}), concatenate({rows.offsets, ends})};
}

std::string_view bytes_of(std::span<const int32_t> row) {
  return {reinterpret_cast<const char*>(row.data()), row.size_bytes()};
}

// Rows that are equal have one number.
std::vector<int64_t> numbers_of(const TokenRows& rows) {
  std::unordered_map<std::string_view, int64_t> number_of;
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < rows.size(); ++i) {
    numbers.push_back(
        number_of.emplace(bytes_of(rows.row(i)), static_cast<int64_t>(number_of.size())).first->second);
  }
  return numbers;
}

TokenRows first_text(const PretrainingPool& pool) {
  const auto& sources = pool.sources();
  const auto text = std::find_if(sources.begin(), sources.end(),
                                 [](const PoolSourceInfo& source) { return source.kind == "text"; });
  FUSEGRID_ASSERT(text != sources.end(), "a pool without texts");
  return pool.read(text->name, 0, 1).tokens;
}

TokenRows first_row(const TaskPack& pack) {
  const auto& tasks = pack.tasks();
  const auto task =
      std::find_if(tasks.begin(), tasks.end(), [](const TaskInfo& info) { return info.longest_row > 0; });
  FUSEGRID_ASSERT(task != tasks.end(), "a pack without tokens");
  return pack.read(task->name, "train", 0, 1).tokens;
}

// "<cls>", or "text".
std::string beginning_of(const TokenRows& rows, const TokenTable& table) {
  const int32_t first = rows.row(0).front();
  return table.special.contains(first) ? table.entries[static_cast<size_t>(first)] : "text";
}

}  // namespace

Inputs filled_up(const std::vector<std::span<const int32_t>>& rows, int64_t pad) {
  const auto count = static_cast<int64_t>(rows.size());
  size_t longest = 0;
  for (const auto& row : rows) {
    longest = std::max(longest, row.size());
  }
  Inputs inputs;
  inputs.tokens = at::full({count, static_cast<int64_t>(longest)}, pad, at::kLong);
  inputs.lengths = at::empty({count}, at::kLong);
  auto* tokens = inputs.tokens.mutable_data_ptr<int64_t>();
  auto* lengths = inputs.lengths.mutable_data_ptr<int64_t>();
  for (const auto& row : rows) {
    std::copy(row.begin(), row.end(), tokens);
    tokens += longest;
    *lengths++ = static_cast<int64_t>(row.size());
  }
  return inputs;
}

TokenTaskBatches::TokenTaskBatches(const std::string& task, Split train, const TokenTable& table,
                                   int64_t batch, uint64_t seed, at::Device device)
    : train_(std::move(train)),
      pad_(table.pad),
      separator_(table.separator),
      order_(train_.tokens.size(), batch, derive_key(seed, "fine_tune/order/" + task)),
      device_(device) {}

Examples TokenTaskBatches::next() {
  const at::Tensor chosen = order_.next();
  const auto rows_of = [&](const TokenRows& all) {
    std::vector<std::span<const int32_t>> rows;
    for (int64_t i = 0; i < chosen.size(0); ++i) {
      rows.push_back(all.row(chosen.const_data_ptr<int64_t>()[i]));
    }
    const Inputs filled = filled_up(rows, pad_);
    return Inputs{{}, sent(filled.tokens, device_), sent(filled.lengths, device_)};
  };
  const auto of_rows = [&](const at::Tensor& target) {
    return target.defined() ? sent(target.index_select(0, chosen), device_) : target;
  };
  const Inputs wanted = train_.answers.defined() ? rows_of(train_.answers) : Inputs{};
  Inputs inputs = rows_of(train_.tokens);
  inputs.types = separator_ ? types_behind(inputs.tokens, *separator_) : at::Tensor();
  return {std::move(inputs), of_rows(train_.labels), of_rows(train_.values), wanted.tokens, wanted.lengths};
}

void check_same_tokens(const PretrainingPool& pool, const TaskPack& pack, const std::string& maker) {
  const std::string& of_pool = pool.tokens()->tokenizer_sha256;
  const std::string& of_pack = pack.tokens()->tokenizer_sha256;
  if (of_pool != of_pack) {
    throw ConfigError("pool and pack must have one tokenizer, but that of the pool has SHA-256 " + of_pool +
                      " and that of '" + pack.path().string() + "' " + of_pack + "; make the pool with " +
                      maker + " --pack " + pack.path().string());
  }
  const std::string of_texts = beginning_of(first_text(pool), *pool.tokens());
  const std::string of_tasks = beginning_of(first_row(pack), *pack.tokens());
  if (of_texts != of_tasks) {
    throw ConfigError("texts of the pool must begin as rows of '" + pack.path().string() + "' do, with " +
                      of_tasks + ", but they begin with " + of_texts + "; make the pool with " + maker);
  }
}

void check_pool_rows(const PretrainingPool& pool, int64_t positions) {
  for (const PoolSourceInfo& source : pool.sources()) {
    if (source.longest_row > positions) {
      throw ConfigError("models read rows of at most " + std::to_string(positions) + " tokens, but source '" +
                        source.name + "' of the pool has rows of up to " +
                        std::to_string(source.longest_row) +
                        "; set positions=" + std::to_string(source.longest_row));
    }
  }
}

void check_pool_kinds(const PretrainingPool& pool, const std::vector<std::string>& kinds,
                      const std::string& models, const std::string& maker) {
  const auto& sources = pool.sources();
  for (const std::string& kind : kinds) {
    if (std::none_of(sources.begin(), sources.end(),
                     [&](const auto& source) { return source.kind == kind; })) {
      throw ConfigError("a pool for " + models + " must have sources of the kind" +
                        (kinds.size() > 1 ? "s " : " ") + join(kinds, " and ") +
                        ", but it has none of the kind " + kind + "; make it with " + maker);
    }
  }
}

void check_text_pool(const PretrainingPool& pool) {
  const std::string maker = "tools/make_text_pool.py";
  check_pool_kinds(pool, {"text", "pairs"}, "encoders of text", maker);
  if (!pool.tokens()->mask) {
    throw ConfigError(
        "a pool for encoders of text must have a tokenizer with a mask, but its has none; make it with " +
        maker);
  }
}

TextPoolBatches::TextPoolBatches(const PretrainingPool& pool, const Options& options) : options_(options) {
  check_text_pool(pool);
  const TokenTable& table = *pool.tokens();
  texts_ = PoolMix::read(pool, "text");
  pairs_ = PoolMix::read(pool, "pairs");
  partner_numbers_ = numbers_of(pairs_.partners);
  pad_ = table.pad;
  mask_ = *table.mask;
  for (int64_t id = 0; id < table.size(); ++id) {
    special_.push_back(table.special.contains(id));
    if (!special_.back()) {
      ordinary_.push_back(id);
    }
  }
}

PoolMix PoolMix::read(const PretrainingPool& pool, const std::string& kind) {
  PoolMix rows;
  for (const PoolSourceInfo& source : pool.sources()) {
    if (source.kind == kind) {
      const PoolRows of_source = pool.read(source.name, 0, source.examples);
      rows.tokens = appended(rows.tokens, of_source.tokens);
      if (of_source.partners.defined()) {
        rows.partners = appended(rows.partners, of_source.partners);
      }
      rows.mix.add(source.examples, source.share);
    }
  }
  return rows;
}

std::vector<int64_t> PoolMix::draw(const std::string& purpose, uint64_t seed, int64_t count,
                                   int64_t step) const {
  const auto numbers = [&](const std::string& what) {
    return uniform(derive_key(seed, "pretrain/" + purpose + "/" + what), static_cast<uint64_t>(step), 0,
                   count);
  };
  const at::Tensor source_numbers = numbers("source");
  const at::Tensor row_numbers = numbers("row");
  std::vector<int64_t> drawn;
  for (int64_t i = 0; i < count; ++i) {
    drawn.push_back(
        mix.draw(source_numbers.const_data_ptr<float>()[i], row_numbers.const_data_ptr<float>()[i]));
  }
  return drawn;
}

// Changes the tokens of the texts, the first rows of the batch.
void TextPoolBatches::hide(PretrainingBatch& batch, int64_t step) const {
  const int64_t width = batch.inputs.tokens.size(1);
  auto* tokens = batch.inputs.tokens.mutable_data_ptr<int64_t>();
  const auto* lengths = batch.inputs.lengths.const_data_ptr<int64_t>();
  constexpr int64_t kNumbers = 3;  // of a token: whether it is hidden, how, and by which other
  const at::Tensor numbers = uniform(derive_key(options_.seed, "pretrain/hidden"),
                                     static_cast<uint64_t>(step), 0, kNumbers * options_.texts * width);
  std::vector<int64_t> hidden, truth;
  for (int64_t row = 0; row < options_.texts; ++row) {
    for (int64_t place = row * width; place < row * width + lengths[row]; ++place) {
      const auto* number = numbers.const_data_ptr<float>() + kNumbers * place;
      int64_t& token = tokens[place];
      if (special_[static_cast<size_t>(token)] || !(number[0] < static_cast<float>(options_.hidden))) {
        continue;
      }
      hidden.push_back(place);
      truth.push_back(token);
      if (number[1] < 0.8F) {
        token = mask_;
      } else if (number[1] < 0.9F) {
        token = ordinary_[static_cast<size_t>(scaled(number[2], static_cast<int64_t>(ordinary_.size())))];
      }
    }
  }
  batch.hidden = at::tensor(hidden, at::kLong);
  batch.truth = at::tensor(truth, at::kLong);
}

at::Tensor TextPoolBatches::same_partners(const std::vector<int64_t>& pairs) const {
  std::vector<int64_t> numbers;
  for (const int64_t pair : pairs) {
    numbers.push_back(partner_numbers_[static_cast<size_t>(pair)]);
  }
  const at::Tensor of_pairs = at::tensor(numbers, at::kLong);
  at::Tensor same = of_pairs.unsqueeze(0) == of_pairs.unsqueeze(1);
  same.diagonal().fill_(false);
  return same;
}

PretrainingBatch TextPoolBatches::at(int64_t step) const {
  const auto pairs = pairs_.draw("pairs", options_.seed, options_.pairs, step);
  std::vector<std::span<const int32_t>> rows;
  for (const int64_t text : texts_.draw("texts", options_.seed, options_.texts, step)) {
    rows.push_back(texts_.tokens.row(text));
  }
  for (const TokenRows* side : {&pairs_.tokens, &pairs_.partners}) {
    for (const int64_t pair : pairs) {
      rows.push_back(side->row(pair));
    }
  }
  PretrainingBatch batch;
  batch.inputs = filled_up(rows, pad_);
  hide(batch, step);
  const auto place = [&](at::Tensor& tensor) { tensor = sent(tensor, options_.device); };
  place(batch.inputs.tokens);
  place(batch.inputs.lengths);
  place(batch.hidden);
  place(batch.truth);
  batch.same = sent(same_partners(pairs), options_.device);
  return batch;
}

}  // namespace fusegrid
