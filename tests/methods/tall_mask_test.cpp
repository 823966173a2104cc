#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/line_zoo.h"
#include "support/test_zoo.h"

namespace fusegrid::tall_mask_test {
namespace {

TEST(TallMask, equals_the_rule_in_fusion_benchs_helper) {
  for (const std::string vector : {"sum", "ties"}) {
    expect_golden_per_task(golden_zoo(), "tall_mask{lambda=0.4,vector=" + vector + "}",
                           "tall_mask__" + vector, 1.2e-7);
  }
}

TEST(TallMask, reproduces_the_error_of_fusion_bench_if_asked) {
  expect_golden_per_task(golden_zoo(), "tall_mask{lambda=0.4,compare=fusion_bench}", "tall_mask__fusionbench",
                         1.2e-7);
}

// Planted: tasks on entries of their own. Each gets its expert back, whatever the others did.
TEST(TallMask, gives_experts_with_disjoint_entries_back) {
  const TestZoo zoo = line_zoo({{1, 0, 0, -2}, {0, 3, 0, 0}, {0, 0, -4, 0}});
  const Weights models = zoo.fuse("tall_mask").weights;
  for (size_t i = 0; i < 3; ++i) {
    expect_close(models.at(zoo.tasks[i] + "/w"), zoo.experts[i].at("w"), 1e-6);
  }
}

TEST(TallMask, of_lambda_zero_adds_everything_where_a_task_changed_anything) {
  const TestZoo zoo = line_zoo({{1, 0, 2}, {3, 4, 0}});
  const Weights models = zoo.fuse("tall_mask{lambda=0}").weights;
  expect_line(models.at("task0/w") - 1, {4, 0, 2});
  expect_line(models.at("task1/w") - 1, {4, 4, 0});
}

TEST(TallMask, stores_two_models_and_one_bit_per_entry_and_task) {
  const TestZoo zoo = line_zoo({{1, 0, 2, 0}, {3, 4, 0, 0}});
  EXPECT_DOUBLE_EQ(zoo.fuse("tall_mask").stored_parameters, 4 + 4 + 2 * 4 / 32.0);
}

}  // namespace
}  // namespace fusegrid::tall_mask_test
