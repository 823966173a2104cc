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
#include "store/hdf5.h"
#include "support/temporary_folder.h"
#include "zoo/build.h"

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

inline void write_labelled(hdf5::Group& group, const at::Tensor& stored, const at::Tensor& classes) {
  group.create_array<uint8_t>("images", elements<uint8_t>(stored), stored.sizes().vec());
  group.create_array("labels", elements<uint16_t>(classes));
}

// Tasks "bars" and "rows" of 3 classes with 30 / 9 / `test_examples` examples.
inline void write_tiny_pack(const fs::path& path, uint64_t evaluation_seed = 20, int64_t test_examples = 9) {
  auto file = hdf5::File::create();
  {
    auto root = file.root();
    root.set_attribute("format", std::string("fusegrid-task-pack"));
    root.set_attribute("version", int64_t{1});
    root.set_attribute("suite", std::string("tiny"));
    root.set_attribute("image_size", int64_t{8});
    auto tasks = root.create_group("tasks");
    for (const std::string name : {"bars", "rows"}) {
      auto task = tasks.create_group(name);
      for (const auto* text : {"title", "licence", "source", "group_meaning", "split_rule"}) {
        task.set_attribute(text, std::string(text));
      }
      task.create_texts("class_names", {"a", "b", "c"});
      const uint64_t seed = name == "bars" ? 1 : 10;
      for (const std::string split : {"train", "val", "test"}) {
        const int64_t count = split == "train" ? 30 : split == "val" ? 9 : test_examples;
        auto group = task.create_group(split);
        write_labelled(group, images(count, 3, 1, 8, split == "train" ? seed : seed + evaluation_seed),
                       labels(count, 3));
        group.create_array("groups", std::vector<uint32_t>(static_cast<size_t>(count), 1));
        group.set_attribute("examples", count);
      }
    }
  }
  write_text(path, file.finish());
}

inline void write_tiny_pool(const fs::path& path) {
  auto file = hdf5::File::create();
  {
    auto root = file.root();
    root.set_attribute("format", std::string("fusegrid-pretraining-pool"));
    root.set_attribute("version", int64_t{1});
    root.set_attribute("image_size", int64_t{10});
    auto sources = root.create_group("sources");
    for (const PoolSource& source : tiny_pool()) {
      auto group = sources.create_group(source.name);
      group.set_attribute("kind", std::string(source.mask ? "mask" : "rgb"));
      group.set_attribute("classes", source.classes);
      group.set_attribute("share", source.share);
      write_labelled(group, source.images, source.labels);
    }
  }
  write_text(path, file.finish());
}

// A plan whose pack and pool lie in `folder`.
inline ZooPlan tiny_plan(const fs::path& folder) {
  write_tiny_pack(folder / "pack.h5");
  write_tiny_pool(folder / "pool.h5");
  return {.scale = "small",
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
