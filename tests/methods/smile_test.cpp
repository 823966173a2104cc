#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "fusion/fused_model.h"
#include "models/network.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::smile_test {
namespace {

// Pooled features of the whole routed tower, up to their length: heads see unit vectors.
TEST(Smile, equals_fusion_bench) {
  TestZoo zoo = golden_zoo();
  zoo.network->readouts["all"] = cosine_readout(at::eye(8), 1.0);
  for (const auto& [file, options] : {std::pair{"rank3", "rank=3,gate_rank=1,top_k=1"},
                                      {"rank8_gate4_top2", "rank=8,gate_rank=4,top_k=2"},
                                      {"dense", "rank=0,gate_rank=2,top_k=1"}}) {
    const Golden golden = read_golden(std::string("smile__") + file);
    const Merged merged = zoo.fuse(std::string("smile{") + options + "}");
    const at::Tensor pooled = golden.tensors.at("pooled");
    const at::Tensor answers = merged.model->predictor->output(
        *zoo.network, {golden.tensors.at("pixels").to(at::kFloat), {}, {}}, {"all", std::nullopt});
    expect_close(answers, pooled / pooled.norm(2, {1}, true), 2e-7);
  }
}

TEST(Smile, with_one_expert_of_full_rank_is_that_expert_in_its_linear_layers) {
  TestZoo zoo = random_zoo(1, 0.2);
  for (auto& [name, tensor] : zoo.experts[0]) {
    if (name.find("layers") == std::string::npos || name.find("norm") != std::string::npos) {
      tensor = zoo.base.at(name);  // what SMILE leaves to the base
    }
  }
  for (const std::string rank : {"0", "16"}) {
    const Merged merged = zoo.fuse("smile{rank=" + rank + "}");
    expect_close(zoo.logits(merged, "task0"), zoo.logits_of(zoo.experts[0], "task0"), 2e-5);
  }
}

TEST(Smile, leaves_layers_that_no_expert_changed_plain) {
  TestZoo zoo = random_zoo(2);
  const std::string layer = "vision_model.encoder.layers.0.mlp.fc1";
  for (Weights& expert : zoo.experts) {
    expert.at(layer + ".weight") = zoo.base.at(layer + ".weight");
  }
  const Weights weights = zoo.fuse("smile").weights;
  EXPECT_FALSE(weights.contains(layer + "/expert0/left"));
  EXPECT_TRUE(weights.contains("vision_model.encoder.layers.1.mlp.fc1/expert1/left"));
}

TEST(Smile, averages_the_other_tensors_if_asked) {
  const TestZoo zoo = random_zoo(2);
  const std::string name = "vision_model.embeddings.class_embedding";
  EXPECT_TRUE(zoo.fuse("smile").weights.at(name).equal(zoo.base.at(name)));
  const at::Tensor average = (zoo.experts[0].at(name) + zoo.experts[1].at(name)) / 2;
  expect_close(zoo.fuse("smile{average_others=true}").weights.at(name), average, 1e-7);
}

TEST(Smile, cannot_choose_more_experts_than_there_are) {
  EXPECT_THROW(random_zoo(2).fuse("smile{top_k=3}"), ConfigError);
}

}  // namespace
}  // namespace fusegrid::smile_test
