// A tiny world of maps: images of 8 x 8 pixels in two shades, of which the brighter is nearer and looks another way.
#pragma once

#include <cmath>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/philox.h"
#include "support/stored_file.h"
#include "zoo/build.h"

namespace fusegrid::test {

constexpr int64_t kMapSide = 8;

// Images, and where they are bright: blocks of 4 x 4 pixels, as large as a position of the models' maps.
struct Shades {
  StoredArray images;
  std::vector<bool> bright;
};

inline Shades shades(int64_t count, uint64_t seed) {
  constexpr int64_t kPixels = kMapSide * kMapSide;
  constexpr int64_t kBlocks = kMapSide / 4;
  Shades made{
      {std::vector<uint8_t>(static_cast<size_t>(3 * count * kPixels)), {count, 3, kMapSide, kMapSide}}, {}};
  auto& pixels = std::get<std::vector<uint8_t>>(made.images.values);
  for (int64_t i = 0; i < count * kPixels; ++i) {
    const int64_t y = i % kPixels / kMapSide / 4, x = i % kMapSide / 4;
    const bool bright =
        philox(seed, static_cast<uint64_t>(i / kPixels), static_cast<uint64_t>(y * kBlocks + x))[0] % 2 == 1;
    made.bright.push_back(bright);
    for (int64_t channel = 0; channel < 3; ++channel) {
      const uint32_t noise =
          philox(seed + 1, static_cast<uint64_t>(i), static_cast<uint64_t>(channel))[0] % 40;
      pixels[static_cast<size_t>((i / kPixels * 3 + channel) * kPixels + i % kPixels)] =
          static_cast<uint8_t>((bright ? 190 : 20) + noise);
    }
  }
  return made;
}

// Tasks "shade" (segment), "near" (depth) and "side" (normals), on the same images: 24, 6 and 6 examples.
inline void write_map_pack(const std::filesystem::path& path) {
  std::map<std::string, StoredGroup> tasks{
      {"shade", stored_task("segment", R"({"classes": ["dark", "bright"], "ignore": 7})")},
      {"near", stored_task("depth", R"({"mean": 2, "sd": 1})")},
      {"side", stored_task("normals", "{}")}};
  uint64_t seed = 0;
  for (const std::string split : {"train", "val", "test"}) {
    const int64_t count = split == "train" ? 24 : 6;
    const Shades made = shades(count, seed += 10);
    std::vector<uint16_t> classes;
    std::vector<float> depths;
    std::vector<float> normals(3 * made.bright.size(), 0);
    const size_t pixels = made.bright.size() / static_cast<size_t>(count);
    for (size_t i = 0; i < made.bright.size(); ++i) {
      classes.push_back(i % pixels == 0 ? 7 : made.bright[i] ? 1 : 0);  // a corner counts for nothing
      depths.push_back(made.bright[i] ? 1.F : 3.F);
      normals[i / pixels * 3 * pixels + i % pixels + (made.bright[i] ? 0 : 2 * pixels)] = 1;
    }
    StoredGroup with_images = stored_split(count);
    with_images.arrays["images"] = made.images;
    for (auto& [name, task] : tasks) {
      task.groups[split] = with_images;
    }
    tasks["shade"].groups[split].arrays["map_classes"] = {classes, {count, kMapSide, kMapSide}};
    tasks["near"].groups[split].arrays["map_depth"] = {depths, {count, kMapSide, kMapSide}};
    tasks["side"].groups[split].arrays["map_normals"] = {normals, {count, 3, kMapSide, kMapSide}};
  }
  stored_pack(tasks).write(path);
}

// A plan whose pack lies in `folder`.
inline ZooPlan map_plan(const std::filesystem::path& folder) {
  write_map_pack(folder / "pack.h5");
  return {.recipe = "dense",
          .scale = "small",
          .suite = "tiny",
          .tasks = {"shade", "near", "side"},
          .folder = folder / "zoos" / "dense-tiny",
          .pack = folder / "pack.h5",
          .overrides = {{"width", 4},
                        {"blocks", 1},
                        {"image_size", kMapSide},
                        {"hidden_side", 2},
                        {"base_steps", 5},
                        {"base_batch", 8},
                        {"expert_steps", 5},
                        {"expert_batch", 8},
                        {"multitask_steps", 5},
                        {"multitask_batch", 4}}};
}

}  // namespace fusegrid::test
