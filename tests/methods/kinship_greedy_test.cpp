#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "core/text.h"
#include "fusion/data_source.h"
#include "methods/planted.h"
#include "models/evaluation.h"
#include "support/golden.h"

namespace fusegrid::kinship_greedy_test {
namespace {

double validation_accuracy(const TestZoo& zoo, const Weights& weights) {
  double sum = 0;
  for (const std::string& task : zoo.tasks) {
    const Examples examples = zoo.data.examples(task, "val", -1);
    const auto logits = [&](const at::Tensor& pixels) {
      return zoo.network->logits(zoo.network->architecture->features(weights, pixels), task);
    };
    sum += answer(*zoo.network, examples.images, examples.labels, 64, logits, [] {}).accuracy;
  }
  return sum / static_cast<double>(zoo.tasks.size());
}

// The recorded kinship of the first merge.
double first_kinship(const TestZoo& zoo, const std::string& metric) {
  const std::string log = zoo.fuse("kinship_greedy{generations=1,metric=" + metric + "}").facts.at("merges");
  const size_t begin = log.find("kinship=") + 8;
  return parse_double(log.substr(begin, log.find(' ', begin) - begin), "kinship");
}

TEST(KinshipGreedy, is_never_worse_on_validation_than_any_expert) {
  const TestZoo zoo = random_zoo(3, 0.3);
  for (const std::string options :
       {"{generations=2}", "{explore=false,generations=2}", "{k=2,metric=euclidean,generations=3}",
        "{k=3,metric=cosine,stop=1,generations=2}"}) {
    const double merged = validation_accuracy(zoo, zoo.fuse("kinship_greedy" + options).weights);
    for (const Weights& expert : zoo.experts) {
      EXPECT_GE(merged, validation_accuracy(zoo, expert));
    }
  }
}

TEST(KinshipGreedy, merges_every_pair_once_in_its_first_generation) {
  const Merged merged = random_zoo(4).fuse("kinship_greedy{generations=1}");
  const std::string& log = merged.facts.at("merges");
  EXPECT_EQ(std::count(log.begin(), log.end(), ';'), 5);  // 6 merges
  for (const std::string pair : {"(task0+task1)", "(task0+task2)", "(task0+task3)", "(task1+task2)",
                                 "(task1+task3)", "(task2+task3)"}) {
    EXPECT_NE(log.find(pair + " kinship="), std::string::npos) << pair;
  }
}

TEST(KinshipGreedy, ends_and_never_repeats_a_pair) {
  const std::string log =
      random_zoo(3, 0.3).fuse("kinship_greedy{k=3,stop=1,generations=4}").facts.at("merges");
  std::set<std::string> names;
  for (const std::string& merge : split(log, ';')) {
    EXPECT_TRUE(names.insert(trim(merge).substr(0, trim(merge).find(' '))).second) << merge;
  }
}

// Planted: tau_1 = tau_0 / 2.
TEST(KinshipGreedy, kinship_is_that_of_planted_task_vectors) {
  TestZoo zoo = random_zoo(2, 0.3);
  double length = 0;
  double distance = 0;
  for (auto& [name, tensor] : zoo.experts[1]) {
    if (tensor.is_floating_point()) {
      const at::Tensor tau = zoo.experts[0].at(name) - zoo.base.at(name);
      tensor = zoo.base.at(name) + tau * 0.5;
      length += tau.square().sum().item<double>();
      distance += (tau * 0.5).square().sum().item<double>();
    }
  }
  EXPECT_NEAR(first_kinship(zoo, "cosine"), 1, 1e-6);
  EXPECT_NEAR(first_kinship(zoo, "pearson"), 1, 1e-6);
  EXPECT_NEAR(first_kinship(zoo, "euclidean"), -std::sqrt(distance), 1e-5 * std::sqrt(length));
  const TestZoo independent = random_zoo(2, 0.3);
  EXPECT_NEAR(first_kinship(independent, "cosine"), 0, 0.1);
  EXPECT_NEAR(first_kinship(independent, "pearson"), 0, 0.1);
}

// A shift of all entries changes the cosine, not the correlation.
TEST(KinshipGreedy, correlation_does_not_see_a_shift) {
  TestZoo zoo = random_zoo(2, 0.3);
  const double pearson = first_kinship(zoo, "pearson");
  for (auto& [name, tensor] : zoo.experts[1]) {
    if (tensor.is_floating_point()) {
      tensor = tensor + 0.5;
    }
  }
  for (auto& [name, tensor] : zoo.experts[0]) {
    if (tensor.is_floating_point()) {
      tensor = tensor + 0.5;
    }
  }
  EXPECT_NEAR(first_kinship(zoo, "pearson"), pearson, 1e-5);
  EXPECT_GT(first_kinship(zoo, "cosine"), 0.5);
}

}  // namespace
}  // namespace fusegrid::kinship_greedy_test
