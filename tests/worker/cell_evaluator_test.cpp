#include "worker/cell_evaluator.h"

#include <gtest/gtest.h>

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
  CellEvaluator evaluator_{4};  // of 9 examples
  int batches_ = 0;
};

TEST_F(CellEvaluatorTest, answers_both_splits_in_batches) {
  const auto both = answers(tiny_cell("individual"));
  EXPECT_EQ(batches_, 3 + 3);
  const auto& scores = zoos_.open("embedded-tiny").zoo().replicate(0).scores;
  for (const std::string split : {"val", "test"}) {
    EXPECT_EQ(both.at(split).predictions.size(), 9U);
    EXPECT_EQ(both.at(split).accuracy, scores.at("bars/" + split));
  }
}

TEST_F(CellEvaluatorTest, answers_validation_once_for_all_shifts_of_a_task) {
  const auto clean = answers(tiny_cell("spy"));
  const auto shifted = answers(tiny_cell("spy", "bars", "contrast-5"));
  EXPECT_EQ(batches_, 3);
  EXPECT_EQ(shifted.at("val").loss, clean.at("val").loss);
  EXPECT_NE(shifted.at("test").loss, clean.at("test").loss);
  answers(tiny_cell("spy", "rows", "contrast-5"));
  EXPECT_EQ(batches_, 6) << "another task";
  answers(tiny_cell("spy", "bars", "gaussian_noise-2"));
  EXPECT_EQ(batches_, 3) << "the first task is still known";
}

TEST_F(CellEvaluatorTest, forgets_what_another_merge_answered) {
  const auto first = answers(tiny_cell("spy"));
  const auto other_seed = answers(tiny_cell("spy", "bars", "clean", 1));
  EXPECT_EQ(batches_, 6);
  EXPECT_NE(other_seed.at("val").loss, first.at("val").loss);
  EXPECT_EQ(answers(tiny_cell("spy")).at("val").loss, first.at("val").loss);
  EXPECT_EQ(batches_, 6);
  answers(tiny_cell("spy_on_test_inputs", "bars", "contrast-5"));
  answers(tiny_cell("spy_on_test_inputs", "bars", "contrast-4"));
  EXPECT_EQ(batches_, 6) << "what saw other inputs is another merge";
}

// The order in which cells come decides nothing.
TEST_F(CellEvaluatorTest, a_shifted_cell_alone_answers_as_one_of_many) {
  const auto alone = answers(tiny_cell("spy", "bars", "contrast-5"));
  answers(tiny_cell("spy", "bars", "clean", 1));
  answers(tiny_cell("spy"));
  const auto among_others = answers(tiny_cell("spy", "bars", "contrast-5"));
  for (const std::string split : {"val", "test"}) {
    EXPECT_EQ(among_others.at(split).loss, alone.at(split).loss);
    EXPECT_EQ(among_others.at(split).predictions, alone.at(split).predictions);
  }
}

}  // namespace
}  // namespace fusegrid
