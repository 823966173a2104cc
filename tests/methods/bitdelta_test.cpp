#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/line_zoo.h"
#include "support/test_zoo.h"

namespace fusegrid::bitdelta_test {
namespace {

// Source of truth: the independent numpy computation bitdelta_by_definition of the golden script.
TEST(Bitdelta, equals_its_definition) {
  expect_golden_per_task(golden_zoo(), "bitdelta", "bitdelta__matrices", 1.2e-7);
}

TEST(Bitdelta, keeps_signs_and_the_mean_magnitude) {
  const TestZoo zoo = line_zoo({{1, -2, 0, 5}});
  expect_line(zoo.fuse("bitdelta{tensors=all}").weights.at("task0/w") - 1, {2, -2, 2, 2});
}

TEST(Bitdelta, leaves_vectors_to_the_expert) {
  const TestZoo zoo = line_zoo({{1, -2, 0, 5}});
  EXPECT_TRUE(zoo.fuse("bitdelta").weights.at("task0/w").equal(zoo.experts[0].at("w")));
}

// The mean magnitude is the number that comes nearest to the task vector.
TEST(Bitdelta, is_nearer_to_the_expert_than_any_other_magnitude) {
  const TestZoo zoo = random_zoo(1);
  const Weights merged = zoo.fuse("bitdelta{tensors=all}").weights;
  for (const auto& [name, base] : zoo.base) {
    if (base.is_floating_point()) {
      const at::Tensor tau = zoo.experts[0].at(name) - base;
      const at::Tensor bits = merged.at("task0/" + name) - base;
      const double error = (tau - bits).norm().item<double>();
      EXPECT_LT(error, (tau - bits * 1.1).norm().item<double>()) << name;
      EXPECT_LT(error, (tau - bits * 0.9).norm().item<double>()) << name;
    }
  }
}

TEST(Bitdelta, counts_bits_numbers_and_whole_tensors) {
  TestZoo zoo = line_zoo({{1, 2, 3}, {3, 2, 1}});
  zoo.base["m"] = at::ones({8, 8});
  for (Weights& expert : zoo.experts) {
    expert["m"] = at::ones({8, 8}) * 2;
  }
  EXPECT_DOUBLE_EQ(zoo.fuse("bitdelta").stored_parameters, 64 + 2 * (64 / 32.0 + 1 + 3));
}

}  // namespace
}  // namespace fusegrid::bitdelta_test
