// A tiny world of tokens: two tasks whose classes are words that a row contains, a pool, and options with which the
// recipe of texts trains on it in milliseconds.
#pragma once

#include <string>
#include <vector>

#include "support.h"

namespace fusegrid::test {

// 0 fills up, 1 begins and 2 ends a row, 3 is the mask; 4 to 23 are words.
constexpr int64_t kWords = 20;

// more: special tokens behind the words.
inline StoredGroup word_tokens(const std::string& tokenizer = "{\"words\": 20}",
                               const std::string& end = "<sep>", const std::vector<std::string>& more = {}) {
  std::vector<std::string> entries{"<pad>", "<cls>", end, "<mask>"};
  std::vector<uint32_t> special{0, 1, 2, 3};
  for (int64_t word = 0; word < kWords; ++word) {
    entries.push_back(std::string(" ") + static_cast<char>('a' + word));
  }
  for (const std::string& name : more) {
    special.push_back(static_cast<uint32_t>(entries.size()));
    entries.push_back(name);
  }
  std::string bytes;
  std::vector<uint32_t> offsets{0};
  for (const std::string& entry : entries) {
    bytes += entry;
    offsets.push_back(static_cast<uint32_t>(bytes.size()));
  }
  StoredGroup tokens;
  tokens.attributes = {
      {"tokenizer_sha256", sha256_hex(tokenizer)}, {"pad", int64_t{0}}, {"mask", int64_t{3}}};
  tokens.arrays = {{"tokenizer", stored_bytes(tokenizer)},
                   {"bytes", stored_bytes(bytes)},
                   {"bytes_offsets", stored(offsets)},
                   {"special", stored(special)}};
  return tokens;
}

// Rows of 3 to 11 tokens that begin with `first`; row i contains the word of its class, i % 3, and words that mean
// nothing.
inline std::vector<std::vector<uint16_t>> word_rows(int64_t count, uint64_t seed, uint16_t first = 1) {
  std::vector<std::vector<uint16_t>> rows;
  for (int64_t i = 0; i < count; ++i) {
    const at::Tensor numbers = uniform(seed, static_cast<uint64_t>(i), 0, 12);
    const auto* number = numbers.const_data_ptr<float>();
    std::vector<uint16_t> row{first};
    const auto words = 1 + static_cast<int64_t>(9 * number[0]);
    for (int64_t word = 0; word < words; ++word) {
      row.push_back(static_cast<uint16_t>(8 + static_cast<int64_t>(15 * number[1 + word])));
    }
    row[1 + static_cast<size_t>(static_cast<float>(words) * number[11])] = static_cast<uint16_t>(4 + i % 3);
    row.push_back(2);
    rows.push_back(row);
  }
  return rows;
}

// A pack of tasks with 60 / 12 / 12 rows of words, which begin with `first`; add_targets adds what is to be answered.
// task: without its splits.
inline void write_pack_of_words(const fs::path& path, const std::vector<std::string>& names, uint16_t first,
                                const StoredGroup& task, const StoredGroup& tokens,
                                void (*add_targets)(StoredGroup& split, int64_t count)) {
  std::map<std::string, StoredGroup> tasks;
  for (size_t i = 0; i < names.size(); ++i) {
    tasks[names[i]] = task;
    for (const std::string split : {"train", "val", "test"}) {
      const int64_t count = split == "train" ? 60 : 12;
      StoredGroup& group = tasks[names[i]].groups[split] = stored_split(count);
      group.add_rows("tokens", word_rows(count, derive_key(1 + i, split), first));
      add_targets(group, count);
    }
  }
  StoredGroup pack = stored_pack(tasks);
  pack.groups["tokens"] = tokens;
  pack.write(path);
}

// Tasks "colours" and "shapes" of 3 classes.
inline void write_word_pack(const fs::path& path, const StoredGroup& tokens = word_tokens()) {
  write_pack_of_words(path, {"colours", "shapes"}, 1,
                      stored_task("classify", R"({"classes": ["a", "b", "c"]})"), tokens,
                      [](StoredGroup& split, int64_t count) {
                        split.arrays["labels"] = stored(elements<uint16_t>(labels(count, 3)));
                      });
}

// 40 texts, 30 pairs whose second row is the first one without its noise, and 10 pairs of two second rows.
inline StoredGroup word_pool(const StoredGroup& tokens = word_tokens()) {
  std::map<std::string, StoredGroup> sources;
  sources["corpus"].attributes = {{"kind", "text"}, {"examples", int64_t{40}}, {"share", 1.0}};
  sources["corpus"].add_rows("tokens", word_rows(40, 7));
  sources["meanings"].attributes = {{"kind", "pairs"}, {"examples", int64_t{30}}, {"share", 0.75}};
  sources["meanings"].add_rows("tokens", word_rows(30, 8));
  std::vector<std::vector<uint16_t>> meanings;
  for (uint16_t i = 0; i < 30; ++i) {
    meanings.push_back({1, static_cast<uint16_t>(4 + i % 3), static_cast<uint16_t>(8 + i / 3), 2});
  }
  sources["meanings"].add_rows("partners", meanings);
  sources["twice"].attributes = {{"kind", "pairs"}, {"examples", int64_t{10}}, {"share", 0.25}};
  sources["twice"].add_rows("tokens", word_rows(10, 9));
  std::vector<std::vector<uint16_t>> two;
  for (int i = 0; i < 10; ++i) {
    two.push_back(i % 2 == 0 ? std::vector<uint16_t>{1, 20, 2} : std::vector<uint16_t>{1, 20, 21, 2});
  }
  sources["twice"].add_rows("partners", two);
  StoredGroup pool = stored_pool(sources);
  pool.groups["tokens"] = tokens;
  return pool;
}

inline ZooPlan word_plan(const fs::path& folder) {
  write_word_pack(folder / "pack.h5");
  word_pool().write(folder / "pool.h5");
  return {.recipe = "text",
          .scale = "small",
          .suite = "tiny",
          .tasks = {"colours", "shapes"},
          .folder = folder / "zoos" / "text-tiny",
          .pack = folder / "pack.h5",
          .pool = folder / "pool.h5",
          .overrides = {{"width", 8},
                        {"blocks", 2},
                        {"head_width", 4},
                        {"positions", 16},
                        {"base_steps", 10},
                        {"base_texts", 8},
                        {"base_pairs", 6},
                        {"expert_steps", 10},
                        {"expert_batch", 8},
                        {"multitask_steps", 10},
                        {"multitask_batch", 4}}};
}

}  // namespace fusegrid::test
