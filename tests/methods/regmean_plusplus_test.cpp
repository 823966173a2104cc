#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/errors.h"
#include "fusion/fusion_input.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::regmean_plusplus_test {
namespace {

// The tensors of a flat golden vector, which has them in the order of their names.
Weights unpacked(const at::Tensor& flat, const std::vector<TensorInfo>& infos) {
  Weights weights;
  int64_t begin = 0;
  for (const TensorInfo& info : infos) {
    weights[info.name] = flat.narrow(0, begin, info.numel()).view(info.shape).clone();
    begin += info.numel();
  }
  EXPECT_EQ(begin, flat.numel());
  return weights;
}

std::string mlp(int64_t block, const std::string& layer) {
  return "vision_model.encoder.layers." + std::to_string(block) + ".mlp." + layer + ".weight";
}

TEST(RegMeanPlusPlus, equals_its_definition) {
  const Golden golden = read_golden("regmean_plusplus__two_blocks");
  TestZoo zoo = random_zoo(2);
  zoo.network->architecture = make_architecture({{"model_type", "clip_vision_model"},
                                                 {"hidden_size", 4},
                                                 {"intermediate_size", 6},
                                                 {"num_hidden_layers", 2},
                                                 {"num_attention_heads", 2},
                                                 {"image_size", 8},
                                                 {"patch_size", 4},
                                                 {"hidden_act", "quick_gelu"}});
  const auto infos = zoo.network->architecture->parameters();
  for (size_t i = 0; i < 2; ++i) {
    const std::string number = std::to_string(i);
    zoo.experts[i] = unpacked(golden.tensors.at("expert" + number), infos);
    const at::Tensor images = golden.tensors.at("images" + number);
    zoo.data.set(zoo.tasks[i], "train", {{images, {}, {}}, at::zeros({images.size(0)}, at::kLong)});
  }
  const Weights merged = zoo.fuse("regmean_plusplus{ratio=0.9,ridge=1e-14}").weights;
  expect_close(merged, unpacked(golden.tensors.at("merged"), infos), 2e-6);
}

// The first block reads the same in both: what the (averaged) embeddings make.
TEST(RegMeanPlusPlus, differs_from_regmean_where_merged_blocks_come_before) {
  TestZoo zoo = random_zoo(2, 0.3);
  for (Weights& expert : zoo.experts) {
    for (auto& [name, tensor] : expert) {
      if (name.find("encoder") == std::string::npos) {
        tensor = zoo.base.at(name);
      }
    }
  }
  const Weights one = zoo.fuse("regmean_plusplus").weights;
  const Weights other = zoo.fuse("regmean").weights;
  const auto apart = [&](const std::string& name) {
    return (one.at(name) - other.at(name)).abs().max().item<double>();
  };
  EXPECT_LT(apart(mlp(0, "fc1")), 1e-6);
  EXPECT_LT(apart(mlp(0, "fc2")), 1e-6);
  EXPECT_GT(apart(mlp(1, "fc1")), 1e-4);
}

TEST(RegMeanPlusPlus, merges_every_layer_and_averages_the_rest) {
  const TestZoo zoo = random_zoo(2);
  const Weights merged = zoo.fuse("regmean_plusplus").weights;
  Weights average = zoo.fuse("simple_average").weights;
  for (const Layer& layer : zoo.network->architecture->layers()) {
    EXPECT_GT((merged.at(layer.weight) - average.at(layer.weight)).abs().max().item<double>(), 1e-5);
    average.at(layer.weight) = merged.at(layer.weight);
  }
  EXPECT_EQ(digest(merged), digest(average));
}

TEST(RegMeanPlusPlus, of_equal_experts_is_that_expert) {
  TestZoo zoo = random_zoo(3);
  zoo.experts = {zoo.experts[0], zoo.experts[0], zoo.experts[0]};
  expect_close(zoo.fuse("regmean_plusplus").weights, zoo.experts[0], 2e-7);
}

TEST(RegMeanPlusPlus, of_one_expert_is_that_expert) {
  const TestZoo zoo = random_zoo(1);
  EXPECT_EQ(digest(zoo.fuse("regmean_plusplus").weights), digest(zoo.experts[0]));
}

// An expert of two tasks has the mean of their Gram matrices: two tasks with the same inputs count once.
TEST(RegMeanPlusPlus, deals_the_inputs_over_the_tasks_of_an_expert) {
  const TestZoo alone = random_zoo(2);
  TestZoo twice = alone;
  twice.owners = {{"task0", "task0"}, {"task1", "task1"}, {"more", "task1"}};
  twice.network->readouts["more"] = twice.network->readouts.at("task1");
  twice.data.set("more", "train", twice.data.examples("task1", "train", -1));
  const Weights one = alone.fuse("regmean_plusplus{examples=8}").weights;
  const Weights other = twice.fuse("regmean_plusplus{examples=16}").weights;
  EXPECT_NE(digest(one), digest(other)) << "task0 has 16 inputs there";
  const Weights with_all = alone.fuse("regmean_plusplus{examples=24}").weights;
  expect_close(twice.fuse("regmean_plusplus{examples=48}").weights, with_all, 1e-6);
}

TEST(RegMeanPlusPlus, is_refused_for_an_expert_without_a_task) {
  TestZoo zoo = random_zoo(2);
  zoo.owners = {{"task0", "task0"}};
  EXPECT_THROW(zoo.fuse("regmean_plusplus"), ConfigError);
}

}  // namespace
}  // namespace fusegrid::regmean_plusplus_test
