// A zoo and a pack that are only descriptions, and jobs on them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/hf_folder.h"
#include "coordinator/cell_data.h"
#include "coordinator/fake_methods.h"
#include "coordinator/grid.h"
#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid {

// Of models that read images of 12 pixels ("images", and "perceptron" without blocks) or tokens ("texts", and
// "decoder"). They have no more weights than a folder needs.
inline std::filesystem::path base_folder(const std::string& name) {
  static const TemporaryFolder folder;
  static const std::map<std::string, nlohmann::json> configs{
      {"images",
       {{"model_type", "clip_vision_model"},
        {"hidden_size", 8},
        {"intermediate_size", 16},
        {"num_hidden_layers", 1},
        {"num_attention_heads", 2},
        {"image_size", 12},
        {"patch_size", 4}}},
      {"perceptron",
       {{"model_type", "mlp"}, {"image_size", 12}, {"hidden_sizes", nlohmann::json::array({2})}}},
      {"texts",
       {{"model_type", "bert"},
        {"hidden_size", 8},
        {"intermediate_size", 16},
        {"num_hidden_layers", 1},
        {"num_attention_heads", 2},
        {"max_position_embeddings", 10},
        {"vocab_size", 30}}},
      {"decoder",
       {{"model_type", "gpt2"},
        {"n_embd", 8},
        {"n_layer", 1},
        {"n_head", 2},
        {"n_positions", 11},
        {"vocab_size", 30}}}};
  if (!std::filesystem::exists(folder / name)) {
    save_hf_folder(folder / name, {{"w", at::zeros({1})}}, configs.at(name),
                   {{"preprocessor_config.json", R"({"image_mean": [0, 0, 0], "image_std": [1, 1, 1]})"}});
  }
  return folder / name;
}

// A zoo that is only a description; nothing of it is on disk but the base, which reads images of 12 pixels.
inline Zoo three_tasks() {
  Zoo zoo;
  zoo.name = "toy";
  zoo.recipe = "embedded";
  zoo.folder = "zoos/toy";
  zoo.tasks = {"a", "b", "c"};
  zoo.experts = {{"a", {"a"}}, {"b", {"b"}}, {"c", {"c"}}};
  for (const int64_t seed : {0, 1}) {
    Replicate replicate;
    replicate.seed = seed;
    replicate.base = base_folder("images");
    replicate.experts = {{"a", "a"}, {"b", "b"}, {"c", "c"}};
    if (seed == 0) {
      replicate.multitask = "multitask";
    }
    zoo.replicates.push_back(replicate);
  }
  return zoo;
}

inline TaskInfo task_of(const std::map<std::string, int64_t>& examples) {
  TaskInfo task;
  task.kind = "classify";
  task.image_height = 12;
  task.image_width = 12;
  task.examples = examples;
  return task;
}

// Tasks by name with so many training examples.
inline PackContents pack_of(const std::map<std::string, int64_t>& training_examples) {
  PackContents pack;
  for (const auto& [name, count] : training_examples) {
    pack[name] = task_of({{"train", count}, {"val", 1}, {"test", 1}});
    pack[name].name = name;
  }
  return pack;
}

class GridTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { register_fake_methods(); }

  static std::vector<Cell> cells(const std::string& text, const Zoo& zoo = three_tasks()) {
    return expand(parse_job("zoo = toy\n" + text, "job.cfg"), {{"toy", zoo}});
  }
  static std::vector<std::string> names(const std::vector<Cell>& cells) {
    std::vector<std::string> names;
    for (const auto& cell : cells) {
      names.push_back(cell.name());
    }
    return names;
  }
  static std::string error_of(const std::string& text, const Zoo& zoo = three_tasks()) {
    try {
      cells(text, zoo);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "(no error)";
  }
};

}  // namespace fusegrid
