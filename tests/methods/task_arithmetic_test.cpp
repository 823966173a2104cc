#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::task_arithmetic_test {
namespace {

TEST(TaskArithmetic, equals_fusion_bench) {
  expect_close(golden_zoo().fuse("task_arithmetic{scale=0.3}").weights,
               read_golden("task_arithmetic__scale03").tensors, 3e-7);
  expect_close(golden_zoo().first(1).fuse("task_arithmetic{scale=-0.5}").weights,
               read_golden("task_arithmetic__negation").tensors, 3e-7);
}

TEST(TaskArithmetic, weighted_equals_mergekit) {
  expect_close(golden_zoo().fuse("task_arithmetic{scale=0.7,weights=0.5:0.3:0.2:0.4}").weights,
               read_golden("task_arithmetic__mergekit_float64").tensors, 3e-7);
}

TEST(TaskArithmetic, of_weights_one_is_that_without_weights) {
  const TestZoo zoo = random_zoo(3);
  EXPECT_EQ(digest(zoo.fuse("task_arithmetic{weights=1:1:1}").weights),
            digest(zoo.fuse("task_arithmetic").weights));
  EXPECT_THROW(zoo.fuse("task_arithmetic{weights=1:1}"), ConfigError);
}

TEST(TaskArithmetic, of_scale_zero_is_the_base) {
  const TestZoo zoo = random_zoo(3);
  EXPECT_EQ(digest(zoo.fuse("task_arithmetic{scale=0}").weights), digest(zoo.base));
}

TEST(TaskArithmetic, of_one_expert_with_scale_one_is_that_expert) {
  const TestZoo zoo = random_zoo(1);
  expect_close(zoo.fuse("task_arithmetic{scale=1}").weights, zoo.experts[0], 1.2e-7);
}

TEST(TaskArithmetic, of_scale_one_nth_is_the_average) {
  const TestZoo zoo = random_zoo(4);
  expect_close(zoo.fuse("task_arithmetic{scale=0.25}").weights, zoo.fuse("simple_average").weights, 3e-7);
}

TEST(TaskArithmetic, unlearns_what_it_learnt) {
  TestZoo zoo = random_zoo(1);
  const Weights base = zoo.base;
  zoo.base = zoo.fuse("task_arithmetic{scale=1}").weights;
  zoo.experts[0] = perturbed(zoo.experts[0], 0, 1);
  for (auto& [name, tensor] : zoo.experts[0]) {
    if (tensor.is_floating_point()) {
      tensor = zoo.base.at(name) + (tensor - base.at(name));  // the same task vector on the new base
    }
  }
  expect_close(zoo.fuse("task_arithmetic{scale=-1}").weights, base, 5e-7);
}

TEST(TaskArithmetic, of_a_mean_divides_by_the_sum_of_the_weights) {
  const TestZoo zoo = random_zoo(3);
  expect_close(zoo.fuse("task_arithmetic{merge=mean,weights=1:2:5,scale=1}").weights,
               zoo.fuse("task_arithmetic{weights=0.125:0.25:0.625,scale=1}").weights, 3e-7);
  EXPECT_THROW(zoo.fuse("task_arithmetic{merge=mean,weights=1:-2:1}"), ConfigError);
}

}  // namespace
}  // namespace fusegrid::task_arithmetic_test
