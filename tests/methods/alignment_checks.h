// What the methods that align units are held to.
#pragma once

#include <string>

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/errors.h"
#include "fusion/alignment/aligned_merge.h"
#include "support/golden.h"
#include "support/planted_permutations.h"
#include "support/test_zoo.h"

namespace fusegrid {

// The three perceptrons of alignment__perceptrons.safetensors and their images, which are one task.
inline TestZoo perceptrons_of_golden() {
  const Golden golden = read_golden("alignment__perceptrons");
  TestZoo zoo;
  zoo.network = std::make_shared<Network>();
  zoo.network->architecture =
      make_architecture({{"model_type", "mlp"}, {"image_size", 2}, {"hidden_sizes", {6, 5}}});
  for (int i = 0; i < 3; ++i) {
    zoo.tasks.push_back("expert" + std::to_string(i));
    zoo.experts.push_back(golden.under(zoo.tasks.back()));
  }
  zoo.owners = {{"images", "expert0"}};
  zoo.network->readouts["images"] = affine_readout(at::ones({2, 5}), at::ones({2}), Pooling::kMean);
  const at::Tensor images = golden.tensors.at("images");
  zoo.data.set("images", "train",
               {.inputs = {images, {}, {}}, .labels = at::zeros({images.size(0)}, at::kLong)});
  return zoo;
}

inline void expect_equals_golden(const TestZoo& zoo, const std::string& call, const std::string& entry) {
  expect_close(zoo.fuse(call).weights, read_golden("alignment__perceptrons").under(entry), 2e-6);
}

// Copies of one model with their units in other orders; each copy's head reads its own order.
inline TestZoo planted_zoo(size_t experts, const std::string& family = "mlp", double spread = 1) {
  TestZoo zoo = unit_zoo(experts, spread, family);
  const std::vector<AxisGroup> groups = zoo.network->architecture->axis_groups();
  for (size_t i = 1; i < experts; ++i) {
    const Alignment order = random_alignment(groups, i);
    zoo.experts[i] = permuted(zoo.experts[0], groups, order);
    auto& readout = zoo.network->readouts.at(zoo.tasks[i]);
    readout = mapped_readout(*readout, groups, unit_maps_of(order, at::kCPU));
  }
  return zoo;
}

// Every task is answered as its own model does.
inline Weights expect_answers_as_copies(const std::string& call, const TestZoo& zoo) {
  Merged merged = zoo.fuse(call);
  for (size_t i = 0; i < zoo.tasks.size(); ++i) {
    expect_close(zoo.logits(merged, zoo.tasks[i]), zoo.logits_of(zoo.experts[i], zoo.tasks[i]), 1e-4);
  }
  return merged.weights;
}

// And the merge is the first model to the bit or nearly so.
inline void expect_aligns_copies(const std::string& call, size_t experts, const std::string& family = "mlp") {
  const TestZoo zoo = planted_zoo(experts, family);
  expect_close(expect_answers_as_copies(call, zoo), zoo.experts[0], 2e-7);
}

// A model merged with itself is itself, also where units are dead.
inline void expect_keeps_a_model(const std::string& call, size_t experts = 2) {
  for (const std::string family : {"mlp", "cnn"}) {
    TestZoo zoo = unit_zoo(1, 1, family);
    Weights model = zoo.experts[0];
    for (auto& [name, tensor] : model) {
      tensor = tensor.clone();
    }
    model.at("layers.0.bias").narrow(0, 1, 3).fill_(-1e4);
    TestZoo several = unit_zoo(experts, 1, family);
    several.experts.assign(experts, model);
    expect_close(several.fuse(call).weights, model, 2e-7);
  }
}

// theta(0) is the first model, and theta(1) the second one aligned, which answers as the second.
inline void expect_draws_a_path(const std::string& method, const std::string& more = "") {
  const TestZoo zoo = unit_zoo(2, 2);
  const auto at_position = [&](const std::string& t) { return zoo.fuse(method + "{t=" + t + more + "}"); };
  const Merged first = at_position("0");
  const Merged second = at_position("1");
  expect_close(first.weights, zoo.experts[0], 0);
  expect_close(zoo.logits(second, "task1"), zoo.logits_of(zoo.experts[1], "task1"), 1e-4);
  const Weights quarter = at_position("0.25").weights;
  for (const auto& [name, tensor] : quarter) {
    expect_close(tensor, first.weights.at(name) * 0.75 + second.weights.at(name) * 0.25, 1e-6);
  }
  EXPECT_THROW(unit_zoo(3).fuse(method + "{t=0.25" + more + "}"), ConfigError);
}

}  // namespace fusegrid
