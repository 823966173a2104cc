#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <gtest/gtest.h>

#include "core/concatenate.h"
#include "fusion/fusion_input.h"
#include "methods/routed_checks.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::dawe_test {
namespace {

// The base with its affine layers moved by these coefficients, and all else by those of task arithmetic.
Weights mixed(const TestZoo& zoo, const at::Tensor& coefficients, double scale) {
  std::set<std::string> adaptive;
  for (const Layer& layer : zoo.network->architecture->layers()) {
    adaptive.insert({layer.weight, layer.bias});
  }
  Weights weights = zoo.base;
  for (auto& [name, tensor] : weights) {
    for (size_t i = 0; tensor.is_floating_point() && i < zoo.experts.size(); ++i) {
      const double own = coefficients[static_cast<int64_t>(i)].item<double>();
      tensor =
          tensor + (zoo.experts[i].at(name) - zoo.base.at(name)) * (adaptive.contains(name) ? own : scale);
    }
  }
  return weights;
}

TEST(Dawe, without_layers_and_steps_is_task_arithmetic) {
  const TestZoo zoo = random_zoo(3);
  const Merged merged = zoo.fuse("dawe{layers=0,steps=0,scale=0.25}");
  const Weights arithmetic = zoo.fuse("task_arithmetic{scale=0.25}").weights;
  for (const std::string& task : zoo.tasks) {
    expect_close(zoo.logits(merged, task), zoo.logits_of(arithmetic, task), 2e-5);
  }
}

// Of transformers and of convolutions.
TEST(Dawe, answers_each_input_by_the_weights_that_the_bases_features_make) {
  for (const TestZoo& zoo : {random_zoo(2, 0.3), unit_zoo(2, 0.1, "cnn")}) {
    const Merged merged = zoo.fuse("dawe{steps=3,batch=4,lr=0.05,scale=0.2}");
    const at::Tensor& weight = merged.weights.at("gate.0.weight");
    const at::Tensor& bias = merged.weights.at("gate.0.bias");
    const Inputs inputs = zoo.network->ready(zoo.data.examples("task0", "test", 5).inputs);
    const at::Tensor coefficients = at::linear(zoo.network->features(zoo.base, inputs), weight, bias);
    EXPECT_GT(coefficients.std(0).min().item<double>(), 1e-3) << "inputs have coefficients of their own";
    std::vector<at::Tensor> expected;
    for (int64_t i = 0; i < 5; ++i) {
      expected.push_back(zoo.network->output(mixed(zoo, coefficients[i], 0.2), inputs.rows(i, 1), "task0"));
    }
    expect_close(zoo.logits(merged, "task0").narrow(0, 0, 5), concatenate(expected), 5e-5);
    expect_close(zoo.logits(merged, "task0", 3), zoo.logits(merged, "task0"), 2e-5);
  }
}

TEST(Dawe, moves_coefficients_against_their_finite_difference) {
  const TestZoo zoo = random_zoo(2, 0.3);
  expect_step_against_the_slope(zoo, zoo.fuse("dawe{layers=0,steps=0}"),
                                zoo.fuse("dawe{layers=0,steps=1,batch=20,lr=0.001}"), "gate.0.bias", 2, 0.01,
                                1e-3);
}

TEST(Dawe, training_lowers_the_entropy) {
  const TestZoo zoo = random_zoo(2, 0.3);
  for (const std::string layers : {"1", "2"}) {
    const double before = entropy(zoo, zoo.fuse("dawe{steps=0,layers=" + layers + "}"));
    const Merged after = zoo.fuse("dawe{steps=20,batch=20,lr=0.01,layers=" + layers + "}");
    EXPECT_LT(entropy(zoo, after), before - 0.001);
  }
}

TEST(Dawe, stores_the_base_the_task_vectors_of_layers_both_of_all_else_and_the_gate) {
  const TestZoo zoo = random_zoo(2);
  int64_t layers = 0;
  for (const Layer& layer : zoo.network->architecture->layers()) {
    layers += zoo.base.at(layer.weight).numel() + zoo.base.at(layer.bias).numel();
  }
  const int64_t others = num_parameters(zoo.base) - layers;
  const int64_t gate = 2 * zoo.network->architecture->feature_size() + 2;
  EXPECT_DOUBLE_EQ(zoo.fuse("dawe{steps=0}").stored_parameters,
                   static_cast<double>(3 * layers + 2 * others + gate));
}

}  // namespace
}  // namespace fusegrid::dawe_test
