// A tiny zoo of two towers: pictures of 8 x 8 pixels with a bright cell, and texts that name its place.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "zoo/build.h"
#include "zoo/text_world.h"

namespace fusegrid::test {

constexpr uint16_t kPlaces = 6;

// count pairs; each place has a word, `first` the first of them.
inline StoredGroup stored_pairs(int64_t count, uint16_t first, uint64_t seed) {
  constexpr int64_t kSide = 8, kCell = 4, kCellsInARow = kSide / kCell;
  std::vector<uint8_t> pixels;
  std::vector<std::vector<uint16_t>> rows;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t place = i % kPlaces, cell = place % (kCellsInARow * kCellsInARow);
    for (int64_t j = 0; j < kSide * kSide; ++j) {
      const bool bright = j / kSide / kCell * kCellsInARow + j % kSide / kCell == cell;
      const uint32_t noise = philox(seed, static_cast<uint64_t>(i), static_cast<uint64_t>(j))[0] % 20;
      pixels.push_back(static_cast<uint8_t>((bright ? (place < 4 ? 220 : 120) : 20) + noise));
    }
    rows.push_back({1, static_cast<uint16_t>(first + place), 2});
  }
  StoredGroup split = stored_split(count);
  split.arrays["images"] = {pixels, {count, 1, kSide, kSide}};
  split.add_rows("tokens", rows);
  return split;
}

// A plan whose pack lies in `folder`: "near" and "far" have experts, "plain" is the base's own, and "asked" has classes
// that are asked by prompts.
inline ZooPlan pairs_plan(const fs::path& folder) {
  std::map<std::string, StoredGroup> tasks;
  uint64_t seed = 1;
  for (const auto& [name, first] : std::map<std::string, uint16_t>{{"near", 4}, {"far", 10}, {"plain", 16}}) {
    tasks[name] = stored_task("retrieve", "{}");
    for (const auto& [split, count] :
         std::map<std::string, int64_t>{{"train", 36}, {"val", 6}, {"test", 12}}) {
      tasks[name].groups[split] = stored_pairs(count, first, ++seed);
    }
  }
  tasks["asked"] =
      stored_task("classify", R"({"classes": ["a", "b"], "prompts": [[[1, 16, 2]], [[1, 17, 2]]]})");
  for (const std::string split : {"train", "val", "test"}) {
    StoredGroup pairs = stored_pairs(8, 16, ++seed);
    pairs.arrays.erase("tokens");
    pairs.arrays.erase("tokens_offsets");
    std::vector<uint16_t> labels;
    for (uint16_t i = 0; i < 8; ++i) {
      labels.push_back(i % kPlaces % 2);
    }
    pairs.arrays["labels"] = stored(labels);
    tasks["asked"].groups[split] = pairs;
  }
  StoredGroup pack = stored_pack(tasks);
  pack.groups["tokens"] = word_tokens("{\"words\": 20}", "</s>");
  pack.write(folder / "pack.h5");
  return {.recipe = "two_towers",
          .scale = "small",
          .suite = "tiny",
          .tasks = {"near", "far", "plain", "asked"},
          .folder = folder / "zoos" / "towers-tiny",
          .pack = folder / "pack.h5",
          .overrides = {{"width", 16},
                        {"blocks", 1},
                        {"head_width", 8},
                        {"embedding", 8},
                        {"patch", 4},
                        {"image_size", 8},
                        {"positions", 8},
                        {"shift", 0},
                        {"seen", 2},
                        {"base_steps", 10},
                        {"base_batch", 12},
                        {"expert_steps", 5},
                        {"expert_batch", 12},
                        {"multitask_steps", 5},
                        {"multitask_batch", 6}}};
}

}  // namespace fusegrid::test
