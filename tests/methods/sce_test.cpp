#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "fusion/passes/selection.h"
#include "support/golden.h"
#include "support/line_zoo.h"
#include "support/test_zoo.h"

namespace fusegrid::sce_test {
namespace {

TEST(Sce, equals_mergekit) {
  expect_golden(golden_zoo(), "sce{density=0.5}", "sce__mergekit_default", 1.2e-7);
  expect_golden(golden_zoo(), "sce{density=1}", "sce__mergekit_all", 1.2e-7);
}

// Variances 0, 1, 4 and 0: of the two entries that differ the larger one is selected.
TEST(Sce, selects_where_the_experts_differ_most) {
  const TestZoo zoo = line_zoo({{3, 2, 5, 0}, {3, 4, 1, 0}});
  const at::Tensor merged = merged_task_vector(zoo, "sce{density=0.5}");
  // weights 25 : 1 from the selected entry alone, both agree: (25 * 5 + 1 * 1) / 26
  expect_line(merged, {0, 0, 126.0 / 26, 0});
}

TEST(Sce, erases_minority_signs) {
  const TestZoo zoo = line_zoo({{4, -1}, {-1, -1}});
  // weights 8.5 and 1 of 9.5; the first entry is expert 0's alone, the second -1 for both
  expect_line(merged_task_vector(zoo, "sce{density=1}"), {4, -1});
}

// The method as operations on whole tensors, which it only sees in blocks.
at::Tensor merged_at_once(const std::vector<at::Tensor>& experts, const at::Tensor& base, double density) {
  std::vector<at::Tensor> taus;
  for (const at::Tensor& expert : experts) {
    taus.push_back((expert - base).to(at::kDouble));
  }
  const at::Tensor all = at::stack(taus);
  const at::Tensor variance = (all - all.mean(0, true)).square().mean(0);
  const auto chosen = static_cast<int64_t>(variance.count_nonzero().item<double>() * density);
  const at::Tensor mask = largest_mask(variance, chosen);
  const at::Tensor squares = (all * mask).square().mean(1, true);
  const at::Tensor weights = squares / squares.sum();
  const at::Tensor kept = all * mask;
  const at::Tensor agrees = at::where(kept.sum(0, true) >= 0, kept > 0, kept < 0);
  return ((kept * agrees * weights).sum(0) / (agrees * weights).sum(0).clamp_min(1e-6)).to(at::kFloat) + base;
}

TEST(Sce, of_a_long_tensor_has_no_seams) {
  constexpr int64_t kLong = 20'001;
  TestZoo zoo = random_zoo(20);
  zoo.base = {{"w", normal(99, 0, 0, kLong)}};
  std::vector<at::Tensor> experts;
  for (uint64_t i = 0; i < zoo.experts.size(); ++i) {
    experts.push_back(zoo.base.at("w") + normal(i, 0, 0, kLong) * 0.1);
    zoo.experts[i] = {{"w", experts.back()}};
  }
  const at::Tensor merged = zoo.fuse("sce{density=0.5}").weights.at("w");
  EXPECT_TRUE(merged.allclose(merged_at_once(experts, zoo.base.at("w"), 0.5), 0, 1e-6));
}

TEST(Sce, of_equal_experts_is_idempotent) {
  TestZoo zoo = random_zoo(3);
  zoo.experts[1] = zoo.experts[2] = zoo.experts[0];
  expect_close(zoo.fuse("sce{density=1}").weights, zoo.experts[0], 3e-7);
}

TEST(Sce, weighs_tiny_task_vectors_equally) {
  const TestZoo zoo = line_zoo({{0.0005F, 0.0001F}, {0.0001F, 0.0002F}});
  expect_line(merged_task_vector(zoo, "sce{density=1}"), {0.0003, 0.00015}, 2e-7);
}

}  // namespace
}  // namespace fusegrid::sce_test
