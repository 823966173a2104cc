#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "fusion/data_source.h"
#include "support/test_zoo.h"

namespace fusegrid::greedy_soup_test {
namespace {

// Mean accuracy and loss over the tasks on validation.
std::pair<double, double> score(const TestZoo& zoo, const Weights& weights) {
  double accuracy = 0;
  double loss = 0;
  for (const std::string& task : zoo.tasks) {
    const Examples examples = zoo.data.examples(task, "val", -1);
    const at::Tensor logits = zoo.network->output(weights, zoo.network->ready(examples.inputs), task);
    const at::Tensor log_p = logits.to(at::kDouble).log_softmax(1);
    accuracy += (logits.argmax(1) == examples.labels).to(at::kDouble).mean().item<double>();
    loss -= log_p.gather(1, examples.labels.unsqueeze(1)).mean().item<double>();
  }
  return {accuracy, -loss};  // larger is better
}

Weights mean(const std::vector<const Weights*>& models) {
  Weights all = *models.front();
  for (auto& [name, tensor] : all) {
    if (!tensor.is_floating_point()) {
      continue;
    }
    at::Tensor sum = tensor;
    for (size_t i = 1; i < models.size(); ++i) {
      sum = sum + models[i]->at(name);
    }
    tensor = sum / static_cast<double>(models.size());
  }
  return all;
}

// Experts around a base that gives the right answers, so that means are better than one, and one that is far away.
TestZoo around_the_truth() {
  TestZoo zoo = random_zoo(5, 0.3);
  for (const std::string& task : zoo.tasks) {
    Examples examples = zoo.data.examples(task, "val", -1);
    examples.labels =
        zoo.network->output(zoo.base, zoo.network->ready(examples.inputs), task).argmax(1).detach();
    zoo.data.set(task, "val", examples);
  }
  for (auto& [name, tensor] : zoo.experts.back()) {
    if (tensor.is_floating_point()) {
      tensor = zoo.base.at(name) + 20 * (tensor - zoo.base.at(name));
    }
  }
  return zoo;
}

// Recipe 1 of the paper, by its words.
TEST(GreedySoup, keeps_what_does_no_harm_in_the_order_of_scores) {
  const TestZoo zoo = around_the_truth();
  std::vector<std::pair<std::pair<double, double>, size_t>> order;
  for (size_t i = 0; i < zoo.experts.size(); ++i) {
    order.emplace_back(score(zoo, zoo.experts[i]), i);
  }
  std::sort(order.rbegin(), order.rend());
  std::vector<const Weights*> soup{&zoo.experts[order[0].second]};
  std::string names = zoo.tasks[order[0].second];
  auto best = order[0].first;
  for (size_t i = 1; i < order.size(); ++i) {
    auto with = soup;
    with.push_back(&zoo.experts[order[i].second]);
    if (score(zoo, mean(with)) >= best) {
      best = score(zoo, mean(with));
      soup = with;
      names += " " + zoo.tasks[order[i].second];
    }
  }

  const Merged merged = zoo.fuse("greedy_soup");

  EXPECT_EQ(merged.facts.at("chosen"), names);
  EXPECT_EQ(digest(merged.weights), digest(mean(soup)));
  EXPECT_GT(soup.size(), 1U) << "something was stirred in";
  EXPECT_LT(soup.size(), zoo.experts.size()) << "something was left out";
}

}  // namespace
}  // namespace fusegrid::greedy_soup_test
