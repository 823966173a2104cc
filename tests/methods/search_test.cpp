#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "core/params.h"
#include "core/text.h"
#include "fusion/data_source.h"
#include "fusion/method.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::search_test {
namespace {

using testing::HasSubstr;

// Mean accuracy over the tasks on validation.
double accuracy(const TestZoo& zoo, const Weights& weights) {
  double sum = 0;
  for (const std::string& task : zoo.tasks) {
    const Examples examples = zoo.data.examples(task, "val", -1);
    const at::Tensor logits = zoo.network->output(weights, zoo.network->ready(examples.inputs), task);
    sum += (logits.argmax(1) == examples.labels).to(at::kDouble).mean().item<double>();
  }
  return sum / static_cast<double>(zoo.tasks.size());
}

// Whose validation labels are what this model answers.
TestZoo answered_by(const Weights& truth, TestZoo zoo) {
  for (const std::string& task : zoo.tasks) {
    Examples examples = zoo.data.examples(task, "val", -1);
    examples.labels =
        zoo.network->output(truth, zoo.network->ready(examples.inputs), task).argmax(1).detach();
    zoo.data.set(task, "val", examples);
  }
  return zoo;
}

std::string refusal(const std::string& call) {
  const auto [name, text] = parse_call(call);
  const Method& method = method_registry().at(name);
  try {
    method.check(text, method.card, 2);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(Search, begins_with_the_middle_of_the_box) {
  const TestZoo zoo = random_zoo(3);
  EXPECT_EQ(digest(zoo.fuse("search{scale=0.2:0.6,budget=1}").weights),
            digest(zoo.fuse("task_arithmetic{scale=0.4}").weights));
  EXPECT_EQ(digest(zoo.fuse("search{method=ties,scale=0:1,density=0.1:0.5,budget=1}").weights),
            digest(zoo.fuse("ties{scale=0.5,density=0.3}").weights));
  EXPECT_EQ(digest(zoo.fuse("search{method=weighted_average,scale=,weights=0:1,budget=1}").weights),
            digest(zoo.fuse("weighted_average{weights=0.5:0.5:0.5}").weights));
  expect_close(zoo.fuse("search{scale=,blocks=0.5:1.5,budget=1}").weights,
               zoo.fuse("task_arithmetic").weights, 1e-6);
}

TEST(Search, gives_the_model_of_the_point_that_it_names) {
  const TestZoo zoo = random_zoo(3, 0.3);
  for (const std::string algorithm : {"cma_es", "random"}) {
    const Merged merged = zoo.fuse("search{scale=0:1,budget=12,algorithm=" + algorithm + "}");
    EXPECT_EQ(merged.facts.at("evaluations"), "12");
    const std::string chosen = merged.facts.at("chosen");
    ASSERT_TRUE(chosen.starts_with("scale=")) << chosen;
    EXPECT_EQ(digest(merged.weights), digest(zoo.fuse("task_arithmetic{" + chosen + "}").weights));
    EXPECT_EQ(digest(merged.weights),
              digest(zoo.fuse("search{scale=0:1,budget=12,algorithm=" + algorithm + "}").weights));
  }
}

// What was evaluated first stays in the comparison.
TEST(Search, of_a_larger_budget_is_no_worse) {
  const TestZoo zoo = random_zoo(4, 0.3);
  for (const std::string algorithm : {"cma_es", "random"}) {
    double before = accuracy(zoo, zoo.fuse("task_arithmetic{scale=0.5}").weights);
    for (const std::string budget : {"1", "5", "20"}) {
      const double now = accuracy(
          zoo, zoo.fuse("search{scale=0:1,algorithm=" + algorithm + ",budget=" + budget + "}").weights);
      EXPECT_GE(now, before) << algorithm << " " << budget;
      before = now;
    }
  }
}

TEST(Search, finds_the_weights_of_a_planted_mixture) {
  TestZoo zoo = random_zoo(3, 0.3);
  const Weights truth = zoo.fuse("task_arithmetic{scale=1,weights=0.9:0.1:0.4}").weights;
  zoo = answered_by(truth, zoo);
  const double even = accuracy(zoo, zoo.fuse("search{scale=,weights=0:1,budget=1}").weights);
  const double found = accuracy(zoo, zoo.fuse("search{scale=,weights=0:1,budget=120}").weights);
  const double truly = accuracy(zoo, truth);
  EXPECT_EQ(truly, 1);
  EXPECT_GT(found - even, (truly - even) / 3) << "of what there is to be gained";
}

TEST(Search, finds_coefficients_of_blocks) {
  TestZoo zoo = random_zoo(2, 0.4);
  Weights truth = zoo.fuse("task_arithmetic{scale=0.3}").weights;
  for (auto& [name, tensor] : truth) {
    if (name.find("layers.0.") != std::string::npos) {
      tensor = zoo.base.at(name) + 3 * (tensor - zoo.base.at(name));
    }
  }
  zoo = answered_by(truth, zoo);
  const double plain = accuracy(zoo, zoo.fuse("task_arithmetic{scale=0.3}").weights);
  const Merged found = zoo.fuse("search{scale=,blocks=-1:3,budget=60}");
  EXPECT_THAT(found.facts.at("chosen"), HasSubstr("block1="));
  EXPECT_THAT(found.facts.at("chosen"), HasSubstr("outside="));
  EXPECT_GT(accuracy(zoo, found.weights), plain);
}

TEST(Search, refuses_what_cannot_be_searched) {
  EXPECT_THAT(refusal("search{scale=}"), HasSubstr("needs something to search over"));
  EXPECT_THAT(refusal("search{scale=1:0.5}"), HasSubstr("low:high, with low below high"));
  EXPECT_THAT(refusal("search{scale=0.5}"), HasSubstr("low:high, with low below high"));
  EXPECT_THAT(refusal("search{density=0.1:0.5}"), HasSubstr("'task_arithmetic' has no such parameter"));
  EXPECT_EQ(refusal("search{method=ties,density=0.1:0.5}"), "");
  EXPECT_THROW(method_registry().at("search").canonical({{"method", "regmean"}}), ConfigError)
      << "it sees other data";
}

}  // namespace
}  // namespace fusegrid::search_test
