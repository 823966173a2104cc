// A tiny world: two tasks of 8 x 8 images with bright quadrants or stripes, a pool, and a recipe that trains
// on it in milliseconds.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "core/philox.h"
#include "support/stored_file.h"
#include "support/temporary_folder.h"
#include "zoo/build.h"
#include "zoo/image_batches.h"

namespace fusegrid::test {

namespace fs = std::filesystem;

inline const nlohmann::json& tiny_overrides() {
  static const nlohmann::json overrides{
      {"width", 8},         {"blocks", 2},       {"head_width", 4},       {"patch_size", 4},
      {"image_size", 8},    {"base_steps", 10},  {"base_batch", 8},       {"shots", 2},
      {"expert_steps", 10}, {"expert_batch", 8}, {"multitask_steps", 10}, {"multitask_batch", 4}};
  return overrides;
}

// Images of `classes` classes in turn: class c lights up rows 2c and 2c + 1, on noise keyed by `seed`.
inline at::Tensor images(int64_t count, int64_t classes, int64_t channels, int64_t size, uint64_t seed) {
  at::Tensor pixels =
      (uniform(seed, 7, 0, count * channels * size * size).view({count, channels, size, size}) * 100)
          .to(at::kByte);
  for (int64_t i = 0; i < count; ++i) {
    pixels[i].narrow(1, 2 * (i % classes), 2).fill_(250);
  }
  return pixels;
}

inline at::Tensor labels(int64_t count, int64_t classes) {
  at::Tensor values = at::empty({count}, at::kLong);
  for (int64_t i = 0; i < count; ++i) {
    values[i] = i % classes;
  }
  return values;
}

inline LabelledTask tiny_task(const std::string& name, uint64_t seed) {
  return {name, 3, images(30, 3, 3, 8, seed), labels(30, 3)};
}

inline std::vector<PoolSource> tiny_pool() {
  return {{"glyphs", images(12, 4, 1, 10, 5), labels(12, 4), 4, 0.5, true},
          {"maps", images(12, 2, 3, 10, 6), labels(12, 2), 2, 0.26, false}};
}

template <typename T>
std::vector<T> elements(const at::Tensor& tensor) {
  std::vector<T> values;
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    values.push_back(static_cast<T>(tensor.view({-1})[i].item<int64_t>()));
  }
  return values;
}

inline void add_labelled(StoredGroup& group, const at::Tensor& pixels, const at::Tensor& classes) {
  group.arrays["images"] = {elements<uint8_t>(pixels), pixels.sizes().vec()};
  group.arrays["labels"] = stored(elements<uint16_t>(classes));
}

// Tasks "bars" and "rows" of 3 classes with 30 / 9 / `test_examples` examples.
inline std::map<std::string, StoredGroup> tiny_tasks(uint64_t evaluation_seed = 20,
                                                     int64_t test_examples = 9) {
  std::map<std::string, StoredGroup> tasks;
  for (const std::string name : {"bars", "rows"}) {
    StoredGroup& task = tasks[name] = stored_task(
        "classify", name == "bars" ? R"({"classes": ["a", "b", "c"]})" : R"({"classes": ["d", "e", "f"]})");
    const uint64_t seed = name == "bars" ? 1 : 10;
    for (const std::string split : {"train", "val", "test"}) {
      const int64_t count = split == "train" ? 30 : split == "val" ? 9 : test_examples;
      StoredGroup& group = task.groups[split] = stored_split(count);
      add_labelled(group, images(count, 3, 1, 8, split == "train" ? seed : seed + evaluation_seed),
                   labels(count, 3));
    }
  }
  return tasks;
}

inline void write_tiny_pack(const fs::path& path, uint64_t evaluation_seed = 20, int64_t test_examples = 9) {
  stored_pack(tiny_tasks(evaluation_seed, test_examples)).write(path);
}

// The same tasks, with texts of two examples a split.
inline void write_text_pack(const fs::path& path) {
  StoredGroup split = stored_split(2);
  split.add_rows("tokens", {{2, 3}, {4}});
  split.arrays["labels"] = stored<uint16_t>({0, 1});
  StoredGroup task = stored_task("classify", R"({"classes": ["a", "b", "c"]})");
  task.groups = {{"train", split}, {"val", split}, {"test", split}};
  StoredGroup pack = stored_pack({{"bars", task}, {"rows", task}});
  pack.groups["tokens"] = stored_tokens();
  pack.write(path);
}

inline void write_tiny_pool(const fs::path& path) {
  std::map<std::string, StoredGroup> sources;
  for (const PoolSource& source : tiny_pool()) {
    StoredGroup& group = sources[source.name];
    group.attributes = {{"kind", source.mask ? "mask" : "rgb"},
                        {"examples", source.images.size(0)},
                        {"classes", source.classes},
                        {"share", source.share}};
    add_labelled(group, source.images, source.labels);
  }
  stored_pool(sources).write(path);
}

// A plan whose pack and pool lie in `folder`.
inline ZooPlan tiny_plan(const fs::path& folder) {
  write_tiny_pack(folder / "pack.h5");
  write_tiny_pool(folder / "pool.h5");
  return {.recipe = "embedded",
          .scale = "small",
          .suite = "tiny",
          .tasks = {"bars", "rows"},
          .folder = folder / "zoos" / "embedded-tiny",
          .pack = folder / "pack.h5",
          .pool = folder / "pool.h5",
          .overrides = tiny_overrides()};
}

// The whole zoo, and its description.
inline Zoo make_tiny_zoo(const ZooPlan& plan, const std::vector<int64_t>& seeds = {0}) {
  std::vector<Result> results;
  std::vector<ZooItem> items = base_items(plan, seeds);
  for (const ZooItem& item : model_items(plan, seeds)) {
    items.push_back(item);
  }
  for (const ZooItem& item : items) {
    results.push_back(make_item(plan, item, at::kCPU));
  }
  return finish(plan, seeds, results);
}

}  // namespace fusegrid::test
