// Tasks of tokens that are letters, and models that spell.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <ATen/ops/tensor.h>

#include "models/inputs.h"
#include "store/task_pack.h"

namespace fusegrid {

constexpr int64_t kPad = 0;
constexpr int64_t kEnd = 1;
constexpr int64_t kMark = 2;  // special, but neither of the two

// <pad>, </s>, <mark>, letters, digits, three signs, and at the end a letter of two bytes.
inline TokenTable letter_table() {
  TokenTable table;
  table.entries = {"<pad>", "</s>", "<mark>"};
  for (const char letter : std::string("abcdefghijklmnopqrstuvwxyz0123456789.- ")) {
    table.entries.emplace_back(1, letter);
  }
  table.entries.emplace_back("\u00e9");
  table.special = {kPad, kEnd, kMark};
  return table;
}

inline std::vector<int64_t> letters(const std::string& text) {
  const TokenTable table = letter_table();
  std::vector<int64_t> ids;
  for (const char letter : text) {
    for (int64_t id = kMark + 1; id < table.size(); ++id) {
      if (table.entries[static_cast<size_t>(id)] == std::string(1, letter)) {
        ids.push_back(id);
      }
    }
  }
  return ids;
}

// The same as an answer.
inline std::vector<int64_t> ended(const std::string& text) {
  std::vector<int64_t> ids = letters(text);
  ids.push_back(kEnd);
  return ids;
}

inline Inputs rows_of(const std::vector<std::vector<int64_t>>& rows) {
  std::vector<int64_t> ids;
  std::vector<int64_t> offsets{0};
  for (const auto& row : rows) {
    ids.insert(ids.end(), row.begin(), row.end());
    offsets.push_back(static_cast<int64_t>(ids.size()));
  }
  return token_inputs(at::tensor(ids, at::kLong), at::tensor(offsets, at::kLong), kPad);
}

// Prompts with the choices of each.
inline Inputs with_choices(Inputs prompts, const std::vector<std::vector<std::vector<int64_t>>>& choices) {
  std::vector<std::vector<int64_t>> rows;
  std::vector<int64_t> offsets{0};
  for (const auto& of_example : choices) {
    rows.insert(rows.end(), of_example.begin(), of_example.end());
    offsets.push_back(static_cast<int64_t>(rows.size()));
  }
  return with_choices(std::move(prompts), rows_of(rows), at::tensor(offsets, at::kLong), kPad);
}

inline TaskInfo token_task(const std::string& kind, int64_t longest_answer = 6, int64_t longest_row = 8) {
  TaskInfo task;
  task.name = "spelling";
  task.kind = kind;
  task.attributes = {{"answer_start", kPad}, {"answer_end", kEnd}, {"longest_answer", longest_answer}};
  task.longest_row = longest_row;
  return task;
}

}  // namespace fusegrid
