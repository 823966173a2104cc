#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/softmax.h>
#include <gtest/gtest.h>

#include "fusion/fusion_input.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::twin_merging_test {
namespace {

// Each input by a model of its own, whose layers are built: W_s + sum_i g_i SVD_k(W_i - W_s) with k full here.
TEST(TwinMerging, answers_each_input_as_the_model_that_its_gates_mix) {
  const TestZoo zoo = random_zoo(2, 0.3);
  const Merged merged = zoo.fuse("twin_merging{density=1,steps=20,hidden=6}");
  const Weights shared = zoo.fuse("task_arithmetic{scale=0.3}").weights;
  const Inputs inputs = zoo.network->ready(zoo.data.examples("task0", "test", 5).inputs);
  const Weights& all = merged.weights;
  const at::Tensor hidden = at::relu(
      at::matmul(zoo.network->features(shared, inputs), all.at("router/0").t()) + all.at("router/1"));
  const at::Tensor gates = at::softmax(at::matmul(hidden, all.at("router/2").t()) + all.at("router/3"), 1);
  EXPECT_GT((gates.select(1, 0) - gates.select(1, 1)).abs().max().item<double>(), 0.05)
      << "it has an opinion";
  for (int64_t row = 0; row < inputs.size(); ++row) {
    Weights mixed = shared;
    for (const Layer& layer : zoo.network->architecture->layers()) {
      for (const std::string& name : {layer.weight, layer.bias}) {
        at::Tensor& tensor = mixed.at(name);
        const at::Tensor from = tensor;
        for (int64_t i = 0; i < 2; ++i) {
          tensor = tensor + (zoo.experts[static_cast<size_t>(i)].at(name) - from) * gates[row][i];
        }
      }
    }
    const at::Tensor expected = zoo.network->output(mixed, inputs.rows(row, 1), "task0");
    const at::Tensor answer =
        merged.model->predictor->output(*zoo.network, inputs, {"task0", std::nullopt}).narrow(0, row, 1);
    expect_close(answer, expected, 2e-5);
  }
}

TEST(TwinMerging, learns_whose_an_input_is) {
  TestZoo zoo = random_zoo(2, 0.3);
  Examples dark = zoo.data.examples("task1", "train", -1);
  dark.inputs.images = dark.inputs.images / 4;
  dark.inputs.images = dark.inputs.images.to(at::kByte);
  zoo.data.set("task1", "train", dark);
  const Weights all = zoo.fuse("twin_merging{steps=200}").weights;
  const Weights shared = zoo.fuse("task_arithmetic{scale=0.3}").weights;
  for (int64_t expert = 0; expert < 2; ++expert) {
    const Inputs inputs =
        zoo.network->ready(zoo.data.examples("task" + std::to_string(expert), "train", -1).inputs);
    const at::Tensor hidden = at::relu(
        at::matmul(zoo.network->features(shared, inputs), all.at("router/0").t()) + all.at("router/1"));
    const at::Tensor logits = at::matmul(hidden, all.at("router/2").t()) + all.at("router/3");
    EXPECT_GT((logits.argmax(1) == expert).to(at::kDouble).mean().item<double>(), 0.9);
  }
}

TEST(TwinMerging, without_rank_and_biases_of_their_own_is_the_shared_model) {
  TestZoo zoo = random_zoo(2);
  for (Weights& expert : zoo.experts) {
    for (auto& [name, tensor] : expert) {
      tensor = name.ends_with(".bias") ? zoo.base.at(name) : tensor;
    }
  }
  const Merged merged = zoo.fuse("twin_merging{density=0,steps=3}");
  const Weights shared = zoo.fuse("task_arithmetic{scale=0.3}").weights;
  expect_close(zoo.logits(merged, "task0"), zoo.logits_of(shared, "task0"), 1e-5);
}

}  // namespace
}  // namespace fusegrid::twin_merging_test
