// A tiny pack of pictures for flows: 4 x 4 pixels, dark or bright (classes), whole or in the left half only (styles).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/philox.h"
#include "support/stored_file.h"

namespace fusegrid::test {

constexpr int64_t kPictureSide = 4;

inline StoredGroup stored_pictures(int64_t count, uint16_t style, uint64_t seed) {
  std::vector<uint8_t> pixels;
  std::vector<uint16_t> labels, styles(static_cast<size_t>(count), style);
  for (int64_t i = 0; i < count; ++i) {
    labels.push_back(static_cast<uint16_t>(i % 2));
    for (int64_t j = 0; j < kPictureSide * kPictureSide; ++j) {
      const bool drawn = style == 0 || j % kPictureSide < kPictureSide / 2;
      const uint32_t noise = philox(seed, static_cast<uint64_t>(i), static_cast<uint64_t>(j))[0] % 30;
      pixels.push_back(static_cast<uint8_t>((drawn ? 60 + 120 * (i % 2) : 0) + noise));
    }
  }
  StoredGroup split = stored_split(count);
  split.arrays["images"] = {pixels, {count, 1, kPictureSide, kPictureSide}};
  split.arrays["labels"] = stored(labels);
  split.arrays["styles"] = stored(styles);
  return split;
}

// One channel that is the brightness; what it says does not matter here.
inline StoredGroup stored_judge() {
  StoredGroup judge;
  judge.arrays["config"] = stored_bytes(
      R"({"model_type": "cnn", "image_size": 4, "num_channels": 1, "hidden_sizes": [2], "pool_last": false,)"
      R"( "num_labels": 4})");
  StoredGroup& tensors = judge.groups["tensors"];
  const auto add = [&](const std::string& name, const std::vector<int64_t>& shape, int64_t count) {
    std::vector<float> values;
    for (int64_t i = 0; i < count; ++i) {
      values.push_back(static_cast<float>(i % 5) / 4.F - 0.4F);
    }
    tensors.arrays[name] = {values, shape};
  };
  add("layers.0.weight", {2, 1, 3, 3}, 18);
  add("layers.0.bias", {2}, 2);
  add("classifier.weight", {4, 2}, 8);
  add("classifier.bias", {4}, 4);
  return judge;
}

// Tasks "whole" and "half", 24, 4 and 6 examples each.
inline StoredGroup stored_flow_pack() {
  std::map<std::string, StoredGroup> tasks;
  const std::string attributes =
      R"({"classes": ["dark", "bright"], "styles": ["whole", "half"], "euler_steps": 4})";
  for (const auto& [name, style] : std::map<std::string, uint16_t>{{"whole", 0}, {"half", 1}}) {
    StoredGroup& task = tasks.emplace(name, stored_task("sample", attributes)).first->second;
    uint64_t seed = style;
    for (const auto& [split, count] :
         std::map<std::string, int64_t>{{"train", 24}, {"val", 4}, {"test", 6}}) {
      task.groups[split] = stored_pictures(count, style, seed += 10);
    }
  }
  StoredGroup pack = stored_pack(tasks);
  pack.groups["judge"] = stored_judge();
  return pack;
}

}  // namespace fusegrid::test
