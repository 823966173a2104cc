#include "worker/cell_evaluator.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <gtest/gtest.h>

#include "checkpoint/safetensors_writer.h"
#include "core/concatenate.h"
#include "core/philox.h"
#include "worker/spy_methods.h"
#include "worker/tiny_zoos.h"

namespace fusegrid {
namespace {

class CellEvaluatorTest : public TinyZoos {
 protected:
  static void SetUpTestSuite() {
    TinyZoos::SetUpTestSuite();
    register_spies();
  }
  CellEvaluatorTest() { spy_must_fail = false; }

  std::map<std::string, Answers> answers(const Cell& cell) {
    OpenZoo& zoo = zoos_.open(cell.zoo);
    const Merge& merge = maker_.of(cell, zoo, [] {});
    batches_ = 0;
    return evaluator_.answers(cell, merge, zoo, [this] { ++batches_; });
  }

  ZooCache zoos_{{{"embedded-tiny", zoo_folder().string()}}, at::kCPU, {}};
  MergeMaker maker_{{.statistics_bytes = 1 << 20}, at::kCPU};
  CellEvaluator evaluator_{{.batch = 4}};  // of 9 examples
  int batches_ = 0;
};

TEST_F(CellEvaluatorTest, answers_both_splits_in_batches) {
  const auto both = answers(tiny_cell("individual"));
  EXPECT_EQ(batches_, 3 + 3);
  const auto& scores = zoos_.open("embedded-tiny").zoo().replicate(0).scores;
  for (const std::string split : {"val", "test"}) {
    EXPECT_EQ(both.at(split).predictions.size(), 9U);
    EXPECT_EQ(both.at(split).metrics.at("accuracy"), scores.at("bars/bars/" + split + "/accuracy"));
  }
}

TEST_F(CellEvaluatorTest, answers_validation_once_for_all_shifts_of_a_task) {
  const auto clean = answers(tiny_cell("spy"));
  const auto shifted = answers(tiny_cell("spy", "bars", "contrast-5"));
  EXPECT_EQ(batches_, 3);
  EXPECT_EQ(shifted.at("val").metrics.at("loss"), clean.at("val").metrics.at("loss"));
  EXPECT_NE(shifted.at("test").metrics.at("loss"), clean.at("test").metrics.at("loss"));
  answers(tiny_cell("spy", "rows", "contrast-5"));
  EXPECT_EQ(batches_, 6) << "another task";
  answers(tiny_cell("spy", "bars", "gaussian_noise-2"));
  EXPECT_EQ(batches_, 3) << "the first task is still known";
}

TEST_F(CellEvaluatorTest, forgets_what_another_merge_answered) {
  const auto first = answers(tiny_cell("spy"));
  const auto other_seed = answers(tiny_cell("spy", "bars", "clean", 1));
  EXPECT_EQ(batches_, 6);
  EXPECT_NE(other_seed.at("val").metrics.at("loss"), first.at("val").metrics.at("loss"));
  EXPECT_EQ(answers(tiny_cell("spy")).at("val").metrics.at("loss"), first.at("val").metrics.at("loss"));
  EXPECT_EQ(batches_, 6);
  answers(tiny_cell("spy_on_test_inputs", "bars", "contrast-5"));
  answers(tiny_cell("spy_on_test_inputs", "bars", "contrast-4"));
  EXPECT_EQ(batches_, 6) << "what saw other inputs is another merge";
}

TEST_F(CellEvaluatorTest, answers_the_splits_and_validation_examples_that_it_was_told) {
  CellEvaluator only_val({.batch = 4, .splits = {"val"}, .validation = 5});
  const Cell cell = tiny_cell("spy");
  OpenZoo& zoo = zoos_.open(cell.zoo);
  const auto some = only_val.answers(cell, maker_.of(cell, zoo, [] {}), zoo, [] {});
  const auto all = answers(cell);
  EXPECT_FALSE(only_val.sees_all());
  EXPECT_TRUE(evaluator_.sees_all());
  ASSERT_EQ(some.size(), 1U);
  EXPECT_EQ(some.at("val").examples, 5);
  const auto& first = all.at("val").predictions;
  EXPECT_EQ(some.at("val").predictions, std::vector<int32_t>(first.begin(), first.begin() + 5));
}

// Affine heads beside the cosine heads of the zoo.
TEST_F(CellEvaluatorTest, asks_the_multitask_model_under_its_own_heads) {
  const at::Tensor weight = normal(1, 0, 0, 3 * 8).view({3, 8});
  const at::Tensor bias = normal(2, 0, 0, 3);
  const Weights heads{
      {"bars.weight", weight}, {"bars.bias", bias}, {"rows.weight", weight * 2}, {"rows.bias", bias}};
  write_safetensors(zoo_folder() / "multitask_heads.safetensors", heads);
  nlohmann::json description = nlohmann::json::parse(read_text(zoo_folder() / "zoo.json"));
  description["replicates"][0]["multitask_heads"] = "multitask_heads.safetensors";
  write_text(zoo_folder() / "zoo.json", description.dump());

  const auto own = answers(tiny_cell("multitask"));

  OpenZoo& zoo = zoos_.open("embedded-tiny");
  const Network& network = zoo.network(0);
  const Weights model = zoo.models(0, {"multitask"})[0]->weights;
  for (const std::string split : {"val", "test"}) {
    const Inputs ready = network.ready(zoo.data().examples("bars", split, -1).inputs);
    const at::Tensor classes = at::linear(network.features(model, ready), weight, bias).argmax(1);
    const auto* expected = classes.const_data_ptr<int64_t>();
    EXPECT_EQ(own.at(split).predictions, std::vector<int32_t>(expected, expected + 9)) << split;
  }
  EXPECT_EQ(network.readout("bars").weights().count("bias"), 0U)
      << "other methods answer under the zoo's heads";
}

TEST_F(CellEvaluatorTest, looks_for_a_class_among_those_of_all_merged_tasks) {
  const auto among_all = answers(tiny_cell("spy", "rows", "all_labels"));
  const auto among_own = answers(tiny_cell("spy", "rows"));
  OpenZoo& zoo = zoos_.open("embedded-tiny");
  const Network& network = zoo.network(0);
  const Merge& merge = maker_.of(tiny_cell("spy", "rows"), zoo, [] {});
  const Inputs ready = network.ready(zoo.data().examples("rows", "test", -1).inputs);
  const auto logits = [&](const std::string& head) {
    return merge.model.predictor->output(network, ready, {head, std::nullopt, nullptr});
  };
  const at::Tensor classes = concatenate({logits("rows"), logits("bars")}, 1).argmax(1);
  const auto* expected = classes.const_data_ptr<int64_t>();
  EXPECT_EQ(among_all.at("test").predictions, std::vector<int32_t>(expected, expected + 9));
  EXPECT_EQ(among_all.at("val").predictions, among_own.at("val").predictions)
      << "parameters are chosen by these";
  EXPECT_GT(among_all.at("test").metrics.at("loss"), among_own.at("test").metrics.at("loss"));
}

// The order in which cells come decides nothing.
TEST_F(CellEvaluatorTest, a_shifted_cell_alone_answers_as_one_of_many) {
  const auto alone = answers(tiny_cell("spy", "bars", "contrast-5"));
  answers(tiny_cell("spy", "bars", "clean", 1));
  answers(tiny_cell("spy"));
  const auto among_others = answers(tiny_cell("spy", "bars", "contrast-5"));
  for (const std::string split : {"val", "test"}) {
    EXPECT_EQ(among_others.at(split).metrics.at("loss"), alone.at(split).metrics.at("loss"));
    EXPECT_EQ(among_others.at(split).predictions, alone.at(split).predictions);
  }
}

}  // namespace
}  // namespace fusegrid
