// simple_ensemble, weighted_ensemble and max_model
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
namespace {

// Members that answer with the features of the golden file. The network normalises the combined features, so
// the expected output is normalised too.
void expect_golden(const std::string& file, const std::string& call) {
  const Golden golden = read_golden(file);
  TestZoo zoo =
      table_zoo({at::eye(5), {}, [](const Weights& weights, const at::Tensor& x, const LinearHook&) {
                   return at::matmul(x, weights.at("features"));
                 }});
  for (int i = 0; i < 4; ++i) {
    const std::string task = "expert" + std::to_string(i);
    zoo.tasks.push_back(task);
    zoo.experts.push_back({{"features", golden.tensors.at("features/" + task).to(at::kFloat)}});
  }
  zoo.network->heads["expert0"] = {at::eye(6), 1.0};
  zoo.data.set("expert0", "test", images_of_rows({0, 1, 2, 3, 4}));
  const at::Tensor expected = golden.tensors.at("output");
  expect_close(zoo.logits(zoo.fuse(call), "expert0"), expected / expected.norm(2, {1}, true), 3e-7);
}

TEST(SimpleEnsemble, equals_fusion_bench) {
  expect_golden("ensemble__simple", "simple_ensemble");
}

TEST(WeightedEnsemble, equals_fusion_bench) {
  expect_golden("ensemble__weighted_normalized", "weighted_ensemble{weights=0.1:0.2:0.3:0.6,normalize=true}");
  expect_golden("ensemble__weighted_raw", "weighted_ensemble{weights=0.1:0.2:0.3:0.6,normalize=false}");
}

TEST(MaxModel, equals_fusion_bench) {
  expect_golden("ensemble__max", "max_model");
}

class Ensembles : public testing::TestWithParam<std::string> {};

TEST_P(Ensembles, of_one_member_is_that_model) {
  const TestZoo zoo = random_zoo(1);
  const at::Tensor alone = zoo.logits_of(zoo.experts[0], "task0");
  const at::Tensor answer = zoo.logits(zoo.fuse(GetParam()), "task0");
  expect_close(at::log_softmax(answer, 1), at::log_softmax(alone, 1), 1e-5);
}

TEST_P(Ensembles, of_copies_is_that_model) {
  TestZoo zoo = random_zoo(3);
  zoo.experts = {zoo.experts[0], zoo.experts[0], zoo.experts[0]};
  const at::Tensor alone = zoo.logits_of(zoo.experts[0], "task1");
  const at::Tensor answer = zoo.logits(zoo.fuse(GetParam()), "task1");
  expect_close(at::log_softmax(answer, 1), at::log_softmax(alone, 1), 1e-5);
}

TEST_P(Ensembles, stores_all_members) {
  const TestZoo zoo = random_zoo(3);
  double members = 0;
  for (const Weights& expert : zoo.experts) {
    members += static_cast<double>(num_parameters(expert));
  }
  EXPECT_DOUBLE_EQ(zoo.fuse(GetParam()).stored_parameters, members);
}

INSTANTIATE_TEST_SUITE_P(All, Ensembles,
                         testing::Values("simple_ensemble", "simple_ensemble{level=logits}",
                                         "simple_ensemble{level=probabilities}", "weighted_ensemble",
                                         "weighted_ensemble{level=logits}",
                                         "weighted_ensemble{level=probabilities}", "max_model",
                                         "max_model{level=logits}"));

TEST(SimpleEnsemble, combines_logits_or_probabilities) {
  const TestZoo zoo = random_zoo(2);
  const at::Tensor a = zoo.logits_of(zoo.experts[0], "task0");
  const at::Tensor b = zoo.logits_of(zoo.experts[1], "task0");
  expect_close(zoo.logits(zoo.fuse("simple_ensemble{level=logits}"), "task0"), (a + b) / 2, 1e-6);
  expect_close(zoo.logits(zoo.fuse("simple_ensemble{level=probabilities}"), "task0").exp(),
               (at::softmax(a, 1) + at::softmax(b, 1)) / 2, 1e-6);
  expect_close(zoo.logits(zoo.fuse("max_model{level=logits}"), "task0"), at::amax(at::stack({a, b}), 0),
               1e-6);
}

TEST(WeightedEnsemble, with_one_weight_is_that_member) {
  const TestZoo zoo = random_zoo(2);
  const at::Tensor answer = zoo.logits(zoo.fuse("weighted_ensemble{weights=0:1,level=logits}"), "task0");
  expect_close(answer, zoo.logits_of(zoo.experts[1], "task0"), 1e-6);
}

TEST(WeightedEnsemble, refuses_weights_of_another_number) {
  EXPECT_THROW(random_zoo(3).fuse("weighted_ensemble{weights=1:2}"), ConfigError);
}

}  // namespace
}  // namespace fusegrid
