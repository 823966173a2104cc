#include "tasks/shift.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>

#include "core/alternatives.h"
#include "core/errors.h"
#include "core/philox.h"
#include "core/text.h"
#include "tasks/label_scope.h"

namespace fusegrid {
namespace {

constexpr int64_t kSeverities = 5;
constexpr uint64_t kShiftSeed = 0;  // one set of shifted images for the whole benchmark

struct ParsedShift {
  const Shift* shift = nullptr;  // nullptr: inputs stay as they are
  int64_t severity = 0;
};

[[noreturn]] void fail(const std::string& text, const std::string& name) {
  throw ConfigError("a shift must be clean, " + std::string(kAllLabels) +
                    " or <name>-<severity> with a severity of 1 to " + std::to_string(kSeverities) +
                    ", but it is '" + text + "'" + alternatives(name, shift_registry().names()));
}

ParsedShift parse(const std::string& text) {
  if (text == "clean" || text == kAllLabels) {
    return {};
  }
  const size_t dash = text.rfind('-');
  const std::string name = text.substr(0, dash);
  if (!shift_registry().contains(name)) {
    fail(text, name);
  }
  // one digit, so that a condition has one spelling: it is part of a cell's identity
  const bool one_digit = dash != std::string::npos && text.size() == dash + 2;
  const int64_t severity = one_digit ? text.back() - '0' : 0;
  if (severity < 1 || severity > kSeverities) {
    fail(text, name);
  }
  return {&shift_registry().at(name), severity};
}

uint64_t key_of(const std::string& text, const std::string& task) {
  return derive_key(kShiftSeed, "shift/" + text + "/" + task);
}

std::string text_of(std::span<const int32_t> ids, const TokenTable& table) {
  std::string text;
  for (const int32_t id : ids) {
    text += table.entries[static_cast<size_t>(id)];
  }
  return text;
}

// The changed words in tokens, no more than `longest` of them; the row itself where no word is left.
std::vector<int32_t> row_of(const std::vector<Word>& words, std::span<const int32_t> row,
                            const TokenTable& table, const TokenWriter& writer, size_t longest) {
  size_t length = 0;
  bool any = false;
  for (const Word& word : words) {
    length += word.ids.size();
    any = any || !word.special;
  }
  if (!any) {
    return {row.begin(), row.end()};
  }
  std::vector<int32_t> ids;
  for (const Word& word : words) {
    std::vector<int32_t> written = word.ids;
    if (!word.special && word.text != text_of(word.ids, table)) {
      const auto changed = writer.write(word.text);
      if (changed && length + changed->size() <= longest + word.ids.size()) {
        length = length + changed->size() - word.ids.size();
        written = *changed;
      }
    }
    ids.insert(ids.end(), written.begin(), written.end());
  }
  return ids;
}

}  // namespace

Registry<Shift>& shift_registry() {
  static Registry<Shift> registry("shift");
  return registry;
}

void check_shift(const std::string& text) {
  parse(text);
}

bool changes_inputs(const std::string& text) {
  return parse(text).shift != nullptr;
}

bool shifts_tokens(const std::string& text) {
  const ParsedShift parsed = parse(text);
  FUSEGRID_ASSERT(parsed.shift != nullptr, "clean inputs are not shifted");
  return parsed.shift->of_words != nullptr;
}

at::Tensor shifted_images(const std::string& text, const at::Tensor& images, const std::string& task,
                          int64_t first_index) {
  const ParsedShift parsed = parse(text);
  if (parsed.shift == nullptr) {
    return images;
  }
  FUSEGRID_ASSERT(images.dim() == 4 && images.scalar_type() == at::kByte && images.is_cpu(),
                  "images must be uint8 [batch, 3, size, size] on the CPU");
  const at::Tensor shifted =
      parsed.shift->of_images(images.to(at::kFloat) / 255, parsed.severity, key_of(text, task), first_index);
  return (shifted.clamp(0, 1) * 255).round().to(at::kByte).contiguous();
}

TokenRows shifted_tokens(const std::string& text, const TokenRows& rows, const std::string& task,
                         const TokenTable& table) {
  const ParsedShift parsed = parse(text);
  if (parsed.shift == nullptr) {
    return rows;
  }
  const TokenWriter writer(table);
  size_t longest = 0;
  for (int64_t i = 0; i < rows.size(); ++i) {
    longest = std::max(longest, rows.row(i).size());
  }
  std::vector<int32_t> ids;
  std::vector<int64_t> offsets{0};
  for (int64_t i = 0; i < rows.size(); ++i) {
    std::vector<Word> words = words_of(rows.row(i), table);
    const at::Tensor numbers =
        uniform(key_of(text, task), static_cast<uint64_t>(i), 0, 2 * static_cast<int64_t>(words.size()));
    parsed.shift->of_words(words, parsed.severity, {numbers.const_data_ptr<float>(), 2 * words.size()});
    const std::vector<int32_t> row = row_of(words, rows.row(i), table, writer, longest);
    ids.insert(ids.end(), row.begin(), row.end());
    offsets.push_back(static_cast<int64_t>(ids.size()));
  }
  return {at::tensor(ids, at::kInt), at::tensor(offsets, at::kLong)};
}

}  // namespace fusegrid
