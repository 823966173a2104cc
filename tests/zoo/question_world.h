// A tiny world of questions: two tasks whose answer is a word that the row contains, twice, a pool, and options with
// which the recipe of text-to-text models trains on it in milliseconds.
#pragma once

#include "text_world.h"

namespace fusegrid::test {

constexpr uint16_t kFirstWord = 23;  // no row begins with a special token

// The tokens of text_world.h, whose 2 ends rows, and two that stand for hidden spans: 24 and 25.
inline StoredGroup question_tokens() {
  return word_tokens("{\"words\": 22}", "</s>", {"<extra_id_0>", "<extra_id_1>"});
}

inline std::vector<std::vector<uint16_t>> answer_rows(int64_t count) {
  std::vector<std::vector<uint16_t>> rows;
  for (int64_t i = 0; i < count; ++i) {
    const auto word = static_cast<uint16_t>(4 + i % 3);
    rows.push_back({word, word, 2});
  }
  return rows;
}

// Tasks "first" and "second".
inline void write_question_pack(const fs::path& path) {
  write_pack_of_words(path, {"first", "second"}, kFirstWord,
                      stored_task("generate", R"({"answer_start": 0, "answer_end": 2, "longest_answer": 4})"),
                      question_tokens(), [](StoredGroup& split, int64_t count) {
                        split.add_rows("answers", answer_rows(count));
                      });
}

// 40 texts and 30 questions.
inline StoredGroup question_pool() {
  std::map<std::string, StoredGroup> sources;
  sources["corpus"].attributes = {{"kind", "text"}, {"examples", int64_t{40}}, {"share", 1.0}};
  sources["corpus"].add_rows("tokens", word_rows(40, 7, kFirstWord));
  sources["questions"].attributes = {{"kind", "pairs"}, {"examples", int64_t{30}}, {"share", 1.0}};
  sources["questions"].add_rows("tokens", word_rows(30, 8, kFirstWord));
  sources["questions"].add_rows("partners", answer_rows(30));
  StoredGroup pool = stored_pool(sources);
  pool.groups["tokens"] = question_tokens();
  return pool;
}

inline ZooPlan question_plan(const fs::path& folder) {
  write_question_pack(folder / "pack.h5");
  question_pool().write(folder / "pool.h5");
  return {.recipe = "seq2seq",
          .scale = "small",
          .suite = "tiny",
          .tasks = {"first", "second"},
          .folder = folder / "zoos" / "seq2seq-tiny",
          .pack = folder / "pack.h5",
          .pool = folder / "pool.h5",
          .overrides = {{"width", 8},
                        {"blocks", 2},
                        {"head_width", 4},
                        {"positions", 16},
                        {"base_steps", 10},
                        {"base_texts", 6},
                        {"base_pairs", 6},
                        {"expert_steps", 10},
                        {"expert_batch", 8},
                        {"multitask_steps", 10},
                        {"multitask_batch", 4}}};
}

}  // namespace fusegrid::test
