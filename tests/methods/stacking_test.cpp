#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/log_softmax.h>
#include <gtest/gtest.h>

#include "core/text.h"
#include "fusion/fusion_input.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::stacking_test {
namespace {

std::vector<double> weights_of(const Merged& merged) {
  std::vector<double> weights;
  for (const std::string& part : split(merged.facts.at("weights"), ' ')) {
    weights.push_back(parse_double(part.substr(part.find('=') + 1), "weight"));
  }
  return weights;
}

// log p of all validation examples of a task, float64.
at::Tensor log_p_of(const TestZoo& zoo, const Weights& expert, const std::string& task) {
  const Inputs inputs = zoo.network->ready(zoo.data.examples(task, "val", -1).inputs);
  return at::log_softmax(zoo.network->output(expert, inputs, task).to(at::kDouble), 1);
}

// Mean over tasks of the mean loss, and the penalty.
double objective(const TestZoo& zoo, const std::vector<double>& weights, double ridge) {
  double sum = 0;
  for (const std::string& task : zoo.tasks) {
    at::Tensor scores;
    for (size_t i = 0; i < weights.size(); ++i) {
      const at::Tensor part = log_p_of(zoo, zoo.experts[i], task) * weights[i];
      scores = scores.defined() ? scores + part : part;
    }
    const at::Tensor labels = zoo.data.examples(task, "val", -1).labels.unsqueeze(1);
    sum -= at::log_softmax(scores, 1).gather(1, labels).mean().item<double>() /
           static_cast<double>(zoo.tasks.size());
  }
  for (const double weight : weights) {
    sum += ridge / 2 * std::pow(weight - 1.0 / static_cast<double>(weights.size()), 2);
  }
  return sum;
}

// The loss is convex: where no change that keeps the sum lowers it, its minimum is.
TEST(Stacking, is_the_optimum_of_its_objective) {
  const TestZoo zoo = random_zoo(3, 0.5);
  for (const double ridge : {0.01, 1.0}) {
    const Merged merged = zoo.fuse("stacking{ridge=" + number_text(ridge) + "}");
    const std::vector<double> weights = weights_of(merged);
    EXPECT_NEAR(weights[0] + weights[1] + weights[2], 1, 1e-9);
    const auto moved = [&](size_t from, size_t to, double by) {
      std::vector<double> other = weights;
      other[from] -= by;
      other[to] += by;
      return objective(zoo, other, ridge);
    };
    for (const auto& [from, to] : {std::pair<size_t, size_t>{0, 1}, {1, 2}, {0, 2}}) {
      EXPECT_NEAR((moved(from, to, 1e-4) - moved(from, to, -1e-4)) / 2e-4, 0, 1e-6);
      EXPECT_GT(moved(from, to, 0.1), moved(from, to, 0));
      EXPECT_GT(moved(from, to, -0.1), moved(from, to, 0));
    }
  }
}

TEST(Stacking, with_a_large_penalty_is_the_mean_of_logits) {
  const TestZoo zoo = random_zoo(3, 0.5);
  const at::Tensor stacked = zoo.logits(zoo.fuse("stacking{ridge=1000000}"), "task1");
  const at::Tensor mean = zoo.logits(zoo.fuse("simple_ensemble{level=logits}"), "task1");
  expect_close(at::log_softmax(stacked, 1), at::log_softmax(mean, 1), 1e-4);
}

// Labels that the first expert gives leave the others nothing to say.
TEST(Stacking, follows_the_expert_that_is_right) {
  TestZoo zoo = random_zoo(3, 1.0);
  for (const std::string& task : zoo.tasks) {
    Examples examples = zoo.data.examples(task, "val", -1);
    examples.labels = log_p_of(zoo, zoo.experts[0], task).argmax(1);
    zoo.data.set(task, "val", examples);
  }
  const Merged merged = zoo.fuse("stacking");
  const std::vector<double> weights = weights_of(merged);
  EXPECT_GT(weights[0], 0.7);
  EXPECT_LT(weights[1], 0.3);
  EXPECT_LT(weights[2], 0.3);
}

// Labels without any relation to the inputs: the cross-fitted loss prefers equal weights.
TEST(Stacking, chooses_a_large_penalty_where_there_is_nothing_to_learn) {
  const TestZoo zoo = random_zoo(3, 1.0);
  EXPECT_GE(parse_double(zoo.fuse("stacking{ridge=0.0000001:1000}").facts.at("ridge"), "ridge"), 1);
}

}  // namespace
}  // namespace fusegrid::stacking_test
