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
