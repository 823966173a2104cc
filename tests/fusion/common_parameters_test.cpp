// How statistics are made anew: whole_model/batch_statistics_test.cpp.
#include "fusion/common_parameters.h"

#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/errors.h"
#include "fusion/demands.h"
#include "fusion/fusion_input.h"
#include "fusion/whole_model/batch_statistics.h"
#include "support/golden.h"
#include "support/small_models.h"
#include "support/temporary_folder.h"
#include "support/test_zoo.h"

namespace fusegrid::common_parameters_test {
namespace {

using testing::HasSubstr;

const Method& average() {
  return method_registry().at("simple_average");
}

// A zoo whose models are convolutions with batch norm; its heads read their five features.
TestZoo zoo_with_batch_norm() {
  TestZoo zoo = random_zoo(2);
  zoo.network->architecture = make_architecture(
      {{"model_type", "cnn"}, {"image_size", 8}, {"hidden_sizes", {4, 8}}, {"norm", "batch"}});
  zoo.base = random_weights(*zoo.network->architecture);
  for (size_t i = 0; i < zoo.experts.size(); ++i) {
    zoo.experts[i] = perturbed(zoo.base, 0.2, i + 1);
    for (auto& [name, tensor] : zoo.experts[i]) {
      tensor = name.ends_with("running_var") ? tensor.abs() + 0.1 : tensor;
    }
  }
  return zoo;
}

TEST(CommonParameters, AreNoPartOfTheCanonicalTextAtTheirDefaults) {
  EXPECT_EQ(average().canonical({}), "");
  EXPECT_EQ(average().canonical({{"statistics", "averaged"}}), "");
  EXPECT_EQ(average().canonical({{"statistics", "re_estimated"}}), "statistics=re_estimated");
  EXPECT_EQ(average().canonical({{"statistics", "re_estimated"}, {"statistics_examples", "100"}}),
            "statistics=re_estimated,statistics_examples=100");
  EXPECT_EQ(method_registry().at("swa").canonical({{"statistics", "re_estimated"}, {"last", "2"}}),
            "last=2,statistics=re_estimated");
  EXPECT_THAT(message_of<ConfigError>([] {
                average().canonical({{"statistics", "new"}});
              }),
              HasSubstr("averaged, re_estimated, re_estimated_with_heads, repaired"));
}

TEST(CommonParameters, SayWhatDataAndModelsTheyAskFor) {
  EXPECT_TRUE(average().needs({}).empty());
  EXPECT_EQ(average().needs({{"statistics", "re_estimated"}}), std::set<Need>{Need::kTrainInputs});
  EXPECT_EQ(average().demands({{"statistics", "re_estimated"}}),
            std::set<Demand>{Demand::kRunningStatistics});
  const TestZoo zoo = random_zoo(2);
  EXPECT_THAT(message_of<ConfigError>([&] {
                check_demands(average(), {{"statistics", "re_estimated"}}, *zoo.network->architecture, {});
              }),
              HasSubstr("needs running statistics of batch norm, which clip_vision_model has not"));
}

TEST(CommonParameters, ReEstimatesTheStatisticsOfTheMergedModel) {
  const TestZoo zoo = zoo_with_batch_norm();
  const Weights plain = zoo.fuse("simple_average").weights;
  const Weights again = zoo.fuse("simple_average{statistics=re_estimated,statistics_examples=32}").weights;
  std::vector<Inputs> batches;
  for (int64_t batch = 0; batch < 4; ++batch) {
    std::vector<Inputs> parts;
    for (const std::string& task : zoo.tasks) {
      const Inputs train = zoo.data.examples(task, "train", 16).inputs;
      parts.push_back(zoo.network->ready(train.rows(4 * batch, 4)));
    }
    batches.push_back(concatenate_inputs(parts));
  }
  const Weights expected = re_estimated(*zoo.network, plain, batches);
  EXPECT_EQ(digest(again), digest(expected));
  EXPECT_NE(digest(again), digest(plain));
  EXPECT_EQ(zoo.data.touched(), std::set<std::string>{"train"});
}

TEST(CommonParameters, ReEstimatesThoseOfEveryMemberOfAnEnsemble) {
  const TestZoo zoo = zoo_with_batch_norm();
  const Weights members = zoo.fuse("simple_ensemble{statistics=re_estimated,statistics_examples=32}").weights;
  const Weights alone = zoo.fuse("member{index=1,statistics=re_estimated,statistics_examples=32}").weights;
  for (const auto& [name, tensor] : alone) {
    EXPECT_TRUE(members.at("member1/" + name).equal(tensor)) << name;
  }
}

// Models of layers with a head of four classes.
TestZoo zoo_with_heads_inside(size_t experts) {
  TestZoo zoo = unit_zoo(experts);
  zoo.network->architecture = make_architecture(
      {{"model_type", "mlp"}, {"image_size", 8}, {"hidden_sizes", {6, 5}}, {"num_labels", 4}});
  const Architecture& architecture = *zoo.network->architecture;
  zoo.base = random_weights(architecture);
  for (size_t i = 0; i < experts; ++i) {
    zoo.experts[i] = perturbed(zoo.base, 0.5, i + 1);
    zoo.network->readouts[zoo.tasks[i]] =
        own_readout(*architecture.own_head(), architecture.feature_size(), 4);
  }
  return zoo;
}

TEST(CommonParameters, MakeAHeadOfTheClassesThatExpertsHaveSeen) {
  TestZoo zoo = zoo_with_heads_inside(3);
  zoo.classes_seen = {{"task0", {{"task0", {0, 1}}}}, {"task1", {{"task1", {1, 2, 3}}, {"task0", {0}}}}};
  const Weights merged = zoo.fuse("task_arithmetic{scale=0.5,head=of_classes_seen}").weights;
  const Weights plain = zoo.fuse("task_arithmetic{scale=0.5}").weights;
  const auto rows = [&](const std::string& name, size_t expert) { return zoo.experts[expert].at(name); };
  for (const auto& [name, tensor] : merged) {
    if (!name.starts_with("classifier.")) {
      EXPECT_TRUE(tensor.equal(plain.at(name))) << name;
      continue;
    }
    const at::Tensor a = rows(name, 0), b = rows(name, 1), c = rows(name, 2);
    expect_close(tensor[0], (a[0] + c[0]) / 2, 1e-6);
    expect_close(tensor[1], (a[1] + b[1] + c[1]) / 3, 1e-6);
    expect_close(tensor[2], (b[2] + c[2]) / 2, 1e-6);
    expect_close(tensor[3], (b[3] + c[3]) / 2, 1e-6);
  }
}

// The rows of an expert whose units were permuted go along.
TEST(CommonParameters, MakeAHeadOfUnitsThatWereBroughtIntoOneOrder) {
  TestZoo zoo = zoo_with_heads_inside(2);
  const auto permuted = [](const at::Tensor& tensor, int64_t axis) { return tensor.flip({axis}); };
  zoo.experts[1] = perturbed(zoo.experts[0], 1e-3, 9);
  for (const std::string name : {"layers.1.weight", "layers.1.bias"}) {
    zoo.experts[1][name] = permuted(zoo.experts[1][name], 0);
  }
  zoo.experts[1]["classifier.weight"] = permuted(zoo.experts[1]["classifier.weight"], 1);
  zoo.classes_seen = {{"task0", {{"task0", {0, 1}}}}, {"task1", {{"task1", {2, 3}}}}};
  const Merged merged = zoo.fuse("weight_matching{head=of_classes_seen}");
  expect_close(zoo.logits(merged, "task0"), zoo.logits_of(zoo.experts[0], "task0"), 0.05);
  EXPECT_THAT(message_of<ConfigError>([&] { zoo.fuse("zipit{head=of_classes_seen,examples=8}"); }),
              HasSubstr("one model of units in the experts' order, which 'zipit' does not make"));
}

TEST(CommonParameters, RefuseHeadsThatAreNoPartOfOneModel) {
  const Method& ensemble = method_registry().at("simple_ensemble");
  EXPECT_THAT(message_of<ConfigError>([&] {
                ensemble.check({{"head", "of_classes_seen"}}, ensemble.card, 2);
              }),
              HasSubstr("'simple_ensemble' does not make"));
  EXPECT_EQ(average().needs({{"head", "of_classes_seen"}}), std::set<Need>{Need::kClassesSeen});
  EXPECT_EQ(average().canonical({{"head", "of_classes_seen"}}), "head=of_classes_seen");
  EXPECT_THAT(
      message_of<ConfigError>([&] {
        check_demands(average(), {{"head", "of_classes_seen"}}, *random_zoo(1).network->architecture, {});
      }),
      HasSubstr("needs a head of classes inside the models, which clip_vision_model has not"));
}

TEST(CommonParameters, RepairsTowardsModelsThatAMergeIsTheMeanOf) {
  EXPECT_THAT(message_of<ConfigError>([] {
                average().check({{"statistics", "repaired"}}, average().card, 2);
              }),
              HasSubstr("makes no such mean"))
      << "before a run";
  EXPECT_THAT(message_of<ConfigError>([] { random_zoo(2).fuse("simple_average{statistics=repaired}"); }),
              HasSubstr("'simple_average' makes no such mean; use a method of the family alignment"));
}

}  // namespace
}  // namespace fusegrid::common_parameters_test
