// Task packs and pretraining pools as they are stored, array by array: tests write small right ones and wrong ones of
// every sort.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/digest.h"
#include "store/hdf5.h"

namespace fusegrid::test {

struct StoredArray {
  std::variant<std::vector<uint8_t>, std::vector<uint16_t>, std::vector<uint32_t>, std::vector<float>> values;
  std::vector<int64_t> shape;
};

template <typename T>
StoredArray stored(std::vector<T> values) {
  const auto size = static_cast<int64_t>(values.size());
  return {std::move(values), {size}};
}

inline StoredArray stored_bytes(const std::string& text) {
  return stored(std::vector<uint8_t>(text.begin(), text.end()));
}

// Images [examples, channels, height, width] whose bytes count up to 250, again and again.
inline StoredArray stored_images(const std::vector<int64_t>& shape) {
  int64_t size = 1;
  for (const int64_t extent : shape) {
    size *= extent;
  }
  std::vector<uint8_t> pixels(static_cast<size_t>(size));
  for (size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = static_cast<uint8_t>(i % 251);
  }
  return {std::move(pixels), shape};
}

struct StoredGroup {
  std::map<std::string, std::variant<std::string, int64_t, double>> attributes;
  std::map<std::string, StoredArray> arrays;
  std::map<std::string, StoredGroup> groups;

  // Adds the ragged array `name` with its offsets.
  template <typename T = uint16_t>
  void add_rows(const std::string& name, const std::vector<std::vector<T>>& rows) {
    std::vector<T> ids;
    std::vector<uint32_t> offsets{0};
    for (const auto& row : rows) {
      ids.insert(ids.end(), row.begin(), row.end());
      offsets.push_back(static_cast<uint32_t>(ids.size()));
    }
    arrays[name] = stored(std::move(ids));
    arrays[name + "_offsets"] = stored(std::move(offsets));
  }

  void write(hdf5::Group group) const {
    for (const auto& [name, value] : attributes) {
      std::visit([&group, &name = name](const auto& v) { group.set_attribute(name, v); }, value);
    }
    for (const auto& [name, array] : arrays) {
      std::visit(
          [&group, &name = name, &shape = array.shape](const auto& values) {
            using T = typename std::decay_t<decltype(values)>::value_type;
            group.create_array<T>(name, values, shape);
          },
          array.values);
    }
    for (const auto& [name, child] : groups) {
      child.write(group.create_group(name));
    }
  }

  void write(const std::filesystem::path& path) const {
    auto file = hdf5::File::create();
    write(file.root());
    const std::string bytes = file.finish();
    std::ofstream(path, std::ios::binary).write(bytes.data(), std::ssize(bytes));
  }
};

// The token table of the vocabulary <pad>, </s>, " a", "b", "\u00e9".
inline StoredGroup stored_tokens() {
  StoredGroup tokens;
  tokens.attributes = {{"tokenizer_sha256", sha256_hex("{}")}, {"pad", int64_t{0}}};
  tokens.arrays = {{"tokenizer", stored_bytes("{}")},
                   {"bytes", stored_bytes("<pad></s> ab\u00e9")},
                   {"bytes_offsets", stored<uint32_t>({0, 5, 9, 11, 12, 14})},
                   {"special", stored<uint32_t>({0, 1})}};
  return tokens;
}

// A split without inputs and targets; each example is a group of its own.
inline StoredGroup stored_split(int64_t examples) {
  StoredGroup split;
  split.attributes["examples"] = examples;
  std::vector<uint32_t> groups(static_cast<size_t>(examples));
  std::iota(groups.begin(), groups.end(), 0U);
  split.arrays["groups"] = stored(groups);
  return split;
}

// A task without splits. `attributes`: JSON.
inline StoredGroup stored_task(const std::string& kind, const std::string& attributes) {
  StoredGroup task;
  task.attributes["kind"] = kind;
  for (const std::string text : {"title", "licence", "source", "group_meaning", "split_rule"}) {
    task.attributes[text] = "the " + text;
  }
  task.arrays["attributes"] = stored_bytes(attributes);
  return task;
}

inline StoredGroup stored_pack(const std::map<std::string, StoredGroup>& tasks) {
  StoredGroup pack;
  pack.attributes = {{"format", "fusegrid-task-pack"}, {"version", int64_t{2}}, {"suite", "tiny"}};
  pack.groups["tasks"].groups = tasks;
  return pack;
}

inline StoredGroup stored_pool(const std::map<std::string, StoredGroup>& sources) {
  StoredGroup pool;
  pool.attributes = {{"format", "fusegrid-pretraining-pool"}, {"version", int64_t{2}}};
  pool.groups["sources"].groups = sources;
  return pool;
}

}  // namespace fusegrid::test
