#pragma once

#include <cstdint>
#include <string>

#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>

#include "core/philox.h"
#include "support/table_model.h"

namespace fusegrid {

constexpr int64_t kWideTensors = 16;
constexpr int64_t kWideElements = 20'000;  // of each
constexpr int64_t kWideModelBytes = kWideTensors * kWideElements * 4;

// Random models that are large beside what a forward pass takes: for tests of memory.
inline TestZoo wide_zoo(size_t experts) {
  constexpr int64_t kWidth = 4;
  const auto forward = [](const Weights& weights, const at::Tensor& x, const Pass&) {
    at::Tensor y = x;
    for (const auto& [name, tensor] : weights) {
      y = y + x * tensor.narrow(0, 0, kWidth);
    }
    return y;
  };
  TestZoo zoo = table_zoo({normal(1, 0, 0, 8 * kWidth).view({8, kWidth}), {}, forward});
  const auto model = [](uint64_t key) {
    Weights weights;
    for (int64_t i = 0; i < kWideTensors; ++i) {
      weights["w" + std::to_string(i)] = normal(key, static_cast<uint64_t>(i), 0, kWideElements);
    }
    return weights;
  };
  zoo.base = model(2);
  for (size_t i = 0; i < experts; ++i) {
    const std::string task = "task" + std::to_string(i);
    zoo.tasks.push_back(task);
    zoo.experts.push_back(model(3 + i));
    zoo.network->readouts[task] = cosine_readout(at::eye(kWidth), 10.0);
    for (const std::string split : {"val", "test"}) {
      zoo.data.set(task, split, images_of_rows({0, 1, 2, 3, 4, 5, 6, 7}));
    }
  }
  return zoo;
}

}  // namespace fusegrid
