#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/line_zoo.h"
#include "support/test_zoo.h"

namespace fusegrid::trimmed_task_arithmetic_test {
namespace {

// FusionBench's own trimming, then the sum of what is left.
TEST(TrimmedTaskArithmetic, equals_fusion_bench) {
  expect_golden(golden_zoo(), "trimmed_task_arithmetic{density=0.2,scale=0.3}",
                "trimmed_task_arithmetic__model", 1.2e-7);
}

TEST(TrimmedTaskArithmetic, counts_over_the_model_or_over_each_tensor) {
  TestZoo zoo = line_zoo({{1, -2, 3, -4}});
  zoo.base["v"] = zoo.base.at("w");
  zoo.experts[0]["v"] = zoo.base.at("w") + (zoo.experts[0].at("w") - zoo.base.at("w")) * 100;
  const std::string half = "trimmed_task_arithmetic{density=0.5,scale=1,scope=";
  const Weights of_tensor = zoo.fuse(half + "tensor}").weights;
  expect_line(of_tensor.at("w") - 1, {0, 0, 3, -4});
  expect_line(of_tensor.at("v") - 1, {0, 0, 300, -400}, 1e-4);
  const Weights of_model = zoo.fuse(half + "model}").weights;  // int(8 / 2) + 1 entries
  expect_line(of_model.at("w") - 1, {0, 0, 0, -4});
  expect_line(of_model.at("v") - 1, {100, -200, 300, -400}, 1e-4);
}

TEST(TrimmedTaskArithmetic, of_density_one_is_task_arithmetic) {
  const TestZoo zoo = random_zoo(3);
  for (const std::string scope : {"model", "tensor"}) {
    expect_close(zoo.fuse("trimmed_task_arithmetic{density=1,scale=0.4,scope=" + scope + "}").weights,
                 zoo.fuse("task_arithmetic{scale=0.4}").weights, 2e-7);
  }
}

TEST(TrimmedTaskArithmetic, of_one_expert_is_ties) {
  const TestZoo zoo = random_zoo(1);
  expect_close(zoo.fuse("trimmed_task_arithmetic{density=0.3,scale=0.4}").weights,
               zoo.fuse("ties{density=0.3,scale=0.4}").weights, 2e-7);
}

TEST(TrimmedTaskArithmetic, averages_if_asked) {
  const TestZoo zoo = line_zoo({{4, 1}, {-2, 1}});
  expect_line(merged_task_vector(zoo, "trimmed_task_arithmetic{density=0.5,scope=tensor,merge=mean,scale=1}"),
              {1, 0});
}

}  // namespace
}  // namespace fusegrid::trimmed_task_arithmetic_test
