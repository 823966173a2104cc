#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/line_zoo.h"
#include "support/test_zoo.h"

namespace fusegrid::arcee_fusion_test {
namespace {

TEST(ArceeFusion, equals_mergekit) {
  expect_golden(golden_zoo().first(1), "arcee_fusion", "arcee_fusion__mergekit_default", 1.2e-7);
}

// One entry changes a hundred times as much as the others: it alone is an outlier.
TEST(ArceeFusion, takes_the_outliers) {
  const TestZoo zoo = line_zoo({{0.01F, -0.011F, 0.012F, 1, -0.013F, 0.014F, -0.009F, 0.01F}});
  expect_line(merged_task_vector(zoo, "arcee_fusion"), {0, 0, 0, 1, 0, 0, 0, 0});
}

TEST(ArceeFusion, takes_all_of_entries_that_matter_equally) {
  TestZoo zoo = line_zoo({{0.5F, -0.5F}});
  expect_close(zoo.fuse("arcee_fusion").weights, zoo.experts[0], 1e-7);
}

TEST(ArceeFusion, takes_each_entry_from_the_base_or_from_the_expert) {
  const TestZoo zoo = random_zoo(1);
  int64_t taken = 0;
  int64_t total = 0;
  for (const auto& [name, merged] : zoo.fuse("arcee_fusion").weights) {
    if (merged.is_floating_point()) {
      const at::Tensor from_base = merged == zoo.base.at(name);
      const at::Tensor from_expert = (merged - zoo.experts[0].at(name)).abs() < 2e-7;
      EXPECT_TRUE(from_base.logical_or(from_expert).all().item<bool>()) << name;
      taken += from_base.logical_not().sum().item<int64_t>();
      total += merged.numel();
    }
  }
  EXPECT_GT(taken, total / 50);
  EXPECT_LT(taken, total / 3);
}

}  // namespace
}  // namespace fusegrid::arcee_fusion_test
