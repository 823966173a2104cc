#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/line_zoo.h"
#include "support/test_zoo.h"

namespace fusegrid::ram_test {
namespace {

TEST(Ram, equals_mergekit) {
  expect_golden(golden_zoo(), "ram{epsilon=0.03}", "ram__mergekit_plain", 1.2e-7);
  expect_golden(golden_zoo(), "ram{plus=tensor,epsilon=0.03,r=0.3,alpha=1.5}", "ram__mergekit_plus", 1.2e-7);
}

// RAM+ with counts over the model: the independent numpy computation of the golden script.
TEST(Ram, plus_of_the_model_equals_its_definition) {
  expect_golden(golden_zoo(), "ram{plus=model,epsilon=0.03,r=0.3,alpha=1.5}", "ram__plus_model", 1.2e-7);
}

TEST(Ram, adds_unique_entries_and_averages_shared_ones) {
  const TestZoo zoo = line_zoo({{2, 0, 4, 0.001F}, {0, 3, 2, 0}});
  expect_line(merged_task_vector(zoo, "ram{epsilon=0.01}"), {2, 3, 3, 0});
}

// Expert 0 has one shared and one unique entry (ratio 1), expert 1 one shared and two unique (ratio 1/2).
TEST(Ram, plus_reinforces_unique_entries) {
  const TestZoo zoo = line_zoo({{2, 0, 4, 0}, {0, 3, 2, 1}});
  for (const std::string plus : {"model", "tensor"}) {
    expect_line(merged_task_vector(zoo, "ram{r=0.5,alpha=0.75,plus=" + plus + "}"), {2.75, 3.75, 3, 1.25});
  }
}

TEST(Ram, plus_counts_per_tensor_or_over_the_model) {
  TestZoo zoo = line_zoo({{2, 4}, {0, 2}});
  zoo.base["v"] = zoo.base.at("w");  // a tensor in which expert 0 shares nothing
  zoo.experts[0]["v"] = zoo.base.at("v") + 1;
  zoo.experts[1]["v"] = zoo.base.at("v");
  const std::string call = "ram{r=1,alpha=1,plus=";
  expect_line(zoo.fuse(call + "tensor}").weights.at("v") - 1, {1, 1});
  const double ratio = 1.0 / 3;
  expect_line(zoo.fuse(call + "model}").weights.at("v") - 1, {1 + ratio, 1 + ratio});
}

TEST(Ram, of_disjoint_experts_is_task_arithmetic_and_of_equal_ones_idempotent) {
  const TestZoo disjoint = line_zoo({{1, 0, 0, -2}, {0, 3, 0, 0}, {0, 0, -4, 0}});
  expect_line(merged_task_vector(disjoint, "ram"), {1, 3, -4, -2});
  TestZoo equal = random_zoo(3);
  equal.experts[1] = equal.experts[2] = equal.experts[0];
  expect_close(equal.fuse("ram{epsilon=0}").weights, equal.experts[0], 3e-7);
}

}  // namespace
}  // namespace fusegrid::ram_test
