// tests/golden/dense.json (its README says what made it).
#pragma once

#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <ATen/ops/tensor.h>
#include <nlohmann/json.hpp>

#include "models/inputs.h"
#include "support/source_folder.h"
#include "tasks/kind.h"

namespace fusegrid {

inline nlohmann::json dense_golden() {
  return nlohmann::json::parse(std::ifstream(source_folder() / "tests/golden/dense.json"));
}

// Nested arrays of numbers: float64.
inline at::Tensor tensor_of(const nlohmann::json& nested) {
  std::vector<double> values;
  std::vector<int64_t> shape;
  const std::function<void(const nlohmann::json&, size_t)> add = [&](const nlohmann::json& part,
                                                                     size_t axis) {
    if (!part.is_array()) {
      values.push_back(part.is_boolean() ? static_cast<double>(part.get<bool>()) : part.get<double>());
      return;
    }
    if (shape.size() <= axis) {
      shape.push_back(static_cast<int64_t>(part.size()));
    }
    for (const nlohmann::json& each : part) {
      add(each, axis + 1);
    }
  };
  add(nested, 0);
  return at::tensor(values, at::kDouble).view(shape);
}

// Images whose first pixel is the number of the example, with these maps.
inline Examples examples_with_maps(const at::Tensor& maps) {
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < maps.size(0); ++i) {
    numbers.push_back(i);
  }
  return {.inputs = {at::tensor(numbers, at::kLong).to(at::kByte).view({-1, 1, 1, 1}), {}, {}}, .maps = maps};
}

// Of a model whose output for example i is row i of `outputs`.
inline Answers answers_with_maps(const TaskKind& kind, const Examples& examples, const at::Tensor& outputs,
                                 int64_t batch = 2) {
  return kind.answer(examples, {.feed = for_each_batch,
                                .output =
                                    [&](const Inputs& ready, Memory*) {
                                      return outputs.index_select(0, ready.images.view({-1}).to(at::kLong));
                                    },
                                .batch = batch});
}

inline TaskInfo map_task(const std::string& kind,
                         const nlohmann::json& attributes = nlohmann::json::object()) {
  TaskInfo task;
  task.name = "maps";
  task.kind = kind;
  task.attributes = attributes;
  return task;
}

// Metrics and losses are those of the golden values.
inline void expect_golden(const nlohmann::json& golden, const TaskKind& kind, const Examples& examples,
                          const at::Tensor& outputs) {
  const Answers answers = answers_with_maps(kind, examples, outputs);
  for (const std::string& metric : kind.metrics()) {
    EXPECT_NEAR(answers.metrics.at(metric), golden.at(metric).get<double>(), 1e-6) << metric;
  }
  EXPECT_TRUE(answers.finite && answers.predictions.empty());
  const at::Tensor off = kind.losses(outputs, examples).to(at::kDouble) - tensor_of(golden.at("losses"));
  EXPECT_LE(off.abs().max().item<double>(), 1e-6);
}

}  // namespace fusegrid
