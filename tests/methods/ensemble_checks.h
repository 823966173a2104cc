// What holds for all ensembles.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "fusion/fusion_input.h"
#include "support/golden.h"
#include "support/table_model.h"

namespace fusegrid {

// Members that answer with the features of the golden file. The network normalises the combined features, so
// the expected output is normalised too.
inline void expect_golden(const std::string& file, const std::string& call) {
  const Golden golden = read_golden(file);
  TestZoo zoo = table_zoo({at::eye(5), {}, [](const Weights& weights, const at::Tensor& x, const Pass&) {
                             return at::matmul(x, weights.at("features"));
                           }});
  for (int i = 0; i < 4; ++i) {
    const std::string task = "expert" + std::to_string(i);
    zoo.tasks.push_back(task);
    zoo.experts.push_back({{"features", golden.tensors.at("features/" + task).to(at::kFloat)}});
  }
  zoo.network->readouts["expert0"] = cosine_readout(at::eye(6), 1.0);
  zoo.data.set("expert0", "test", images_of_rows({0, 1, 2, 3, 4}));
  const at::Tensor expected = golden.tensors.at("output");
  expect_close(zoo.logits(zoo.fuse(call), "expert0"), expected / expected.norm(2, {1}, true), 3e-7);
}

inline void expect_of_one_member_is_that_model(const std::string& call) {
  const TestZoo zoo = random_zoo(1);
  const at::Tensor alone = zoo.logits_of(zoo.experts[0], "task0");
  const at::Tensor answer = zoo.logits(zoo.fuse(call), "task0");
  expect_close(at::log_softmax(answer, 1), at::log_softmax(alone, 1), 1e-5);
}

inline void expect_of_copies_is_that_model(const std::string& call) {
  TestZoo zoo = random_zoo(3);
  zoo.experts = {zoo.experts[0], zoo.experts[0], zoo.experts[0]};
  const at::Tensor alone = zoo.logits_of(zoo.experts[0], "task1");
  const at::Tensor answer = zoo.logits(zoo.fuse(call), "task1");
  expect_close(at::log_softmax(answer, 1), at::log_softmax(alone, 1), 1e-5);
}

inline void expect_stores_all_members(const std::string& call) {
  const TestZoo zoo = random_zoo(3);
  double members = 0;
  for (const Weights& expert : zoo.experts) {
    members += static_cast<double>(num_parameters(expert));
  }
  EXPECT_DOUBLE_EQ(zoo.fuse(call).stored_parameters, members);
}

}  // namespace fusegrid
