#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "fusion/data_source.h"
#include "support/test_zoo.h"

namespace fusegrid::best_expert_test {
namespace {

double accuracy(const TestZoo& zoo, const Weights& weights) {
  double sum = 0;
  for (const std::string& task : zoo.tasks) {
    const Examples examples = zoo.data.examples(task, "val", -1);
    const at::Tensor logits = zoo.network->output(weights, zoo.network->ready(examples.inputs), task);
    sum += (logits.argmax(1) == examples.labels).to(at::kDouble).mean().item<double>();
  }
  return sum;
}

TEST(BestExpert, is_the_one_of_the_highest_accuracy_on_validation) {
  const TestZoo zoo = random_zoo(4, 0.6);
  const Merged merged = zoo.fuse("best_expert");
  size_t chosen = 0;
  std::set<double> accuracies;
  for (size_t i = 0; i < 4; ++i) {
    accuracies.insert(accuracy(zoo, zoo.experts[i]));
    chosen = digest(merged.weights) == digest(zoo.experts[i]) ? i : chosen;
  }
  EXPECT_GT(accuracies.size(), 1U) << "they differ";
  EXPECT_EQ(digest(merged.weights), digest(zoo.experts[chosen]));
  EXPECT_EQ(accuracy(zoo, merged.weights), *accuracies.rbegin());
  EXPECT_EQ(merged.facts.at("chosen"), zoo.tasks[chosen]);
}

}  // namespace
}  // namespace fusegrid::best_expert_test
