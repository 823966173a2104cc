#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "support/drop_masks.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::dare_test {
namespace {

using Masks = std::vector<Weights>;  // per expert

// The rule itself in float64: base + scale * sum_i factor_i mask_i tau_i.
Weights by_rule(const TestZoo& zoo, const Masks& masks, double scale, double drop_rate, bool keep_l1) {
  Weights result;
  for (const auto& [name, base] : zoo.base) {
    result[name] = base.to(at::kDouble);
    for (size_t i = 0; i < zoo.experts.size(); ++i) {
      const at::Tensor tau = zoo.experts[i].at(name).to(at::kDouble) - base.to(at::kDouble);
      const at::Tensor kept = tau * masks[i].at(name);
      const double l1 = kept.abs().sum().item<double>();
      const double factor = !keep_l1    ? 1 / (1 - drop_rate)
                            : l1 < 1e-7 ? 1
                                        : tau.abs().sum().item<double>() / l1;
      result[name] += kept * (factor * scale);
    }
  }
  return result;
}

// The rule reproduces the originals with the masks that they drew ...
TEST(Dare, rule_equals_fusion_bench_with_its_masks) {
  const Golden golden = read_golden("dare_linear__fusionbench_drop09_rescaled");
  const TestZoo zoo = golden_zoo();
  Masks masks;
  for (const std::string& task : zoo.tasks) {
    masks.push_back(golden.under("mask/" + task));
  }
  expect_close(by_rule(zoo, masks, 1.0, 0.9, false), golden.under(""), 1e-14);
}

TEST(Dare, average_equals_fusion_bench_with_its_masks) {
  const Golden golden = read_golden("dare_linear__fusionbench_mean");
  const TestZoo zoo = golden_zoo();
  Masks masks;
  for (const std::string& task : zoo.tasks) {
    masks.push_back(golden.under("mask/" + task));
  }
  expect_close(by_rule(zoo, masks, 0.25, 0.5, false), golden.under(""), 1e-14);
  expect_close(zoo.fuse("dare{drop_rate=0.5,scale=1,merge=mean}").weights,
               by_rule(zoo, drop_masks(zoo, 0.5), 0.25, 0.5, false), 1e-6);
}

// ... and the method follows the rule with its own masks.
TEST(Dare, follows_the_rule) {
  TestZoo zoo = golden_zoo();
  zoo.seed = 5;
  expect_close(zoo.fuse("dare{drop_rate=0.9,scale=1}").weights,
               by_rule(zoo, drop_masks(zoo, 0.9), 1, 0.9, false), 1e-6);
  expect_close(zoo.fuse("dare{drop_rate=0.6,scale=0.7,rescale=l1}").weights,
               by_rule(zoo, drop_masks(zoo, 0.6), 0.7, 0.6, true), 1e-6);
}

TEST(Dare, that_drops_nothing_is_task_arithmetic) {
  const TestZoo zoo = random_zoo(3);
  for (const std::string rescale : {"inverse", "l1"}) {
    expect_close(zoo.fuse("dare{drop_rate=0,scale=0.4,rescale=" + rescale + "}").weights,
                 zoo.fuse("task_arithmetic{scale=0.4}").weights, 2e-7);
  }
}

TEST(Dare, weighs_task_vectors_as_task_arithmetic_does) {
  const TestZoo zoo = random_zoo(3);
  expect_close(zoo.fuse("dare{drop_rate=0,scale=0.4,weights=0.5:-1:2}").weights,
               zoo.fuse("task_arithmetic{scale=0.4,weights=0.5:-1:2}").weights, 2e-7);
  expect_close(zoo.fuse("dare{drop_rate=0,scale=1,merge=mean,weights=0.5:1:2.5}").weights,
               zoo.fuse("task_arithmetic{scale=0.25,weights=0.5:1:2.5}").weights, 2e-7);
  // weights without a sum are not divided, as in mergekit
  expect_close(zoo.fuse("dare{drop_rate=0,scale=1,merge=mean,weights=1:-1:0}").weights,
               zoo.fuse("task_arithmetic{scale=1,weights=1:-1:0}").weights, 2e-7);
}

TEST(Dare, of_scale_zero_is_the_base) {
  const TestZoo zoo = random_zoo(2);
  EXPECT_EQ(digest(zoo.fuse("dare{scale=0}").weights), digest(zoo.base));
}

TEST(Dare, repeats_with_the_seed_and_differs_without) {
  TestZoo zoo = random_zoo(2);
  const std::string once = digest(zoo.fuse("dare").weights);
  zoo.cache = std::make_shared<StatisticsCache>(1 << 20, "", at::kCPU);
  EXPECT_EQ(digest(zoo.fuse("dare").weights), once);
  zoo.seed = 1;
  EXPECT_NE(digest(zoo.fuse("dare").weights), once);
}

TEST(Dare, draws_for_the_task_and_not_for_the_place_in_the_list) {
  const TestZoo zoo = random_zoo(2);
  TestZoo alone = zoo.first(1);
  TestZoo second = zoo;
  second.tasks = {zoo.tasks[1], zoo.tasks[0]};
  second.experts = {zoo.base, zoo.experts[0]};  // the other expert moves nothing
  expect_close(second.fuse("dare{scale=1}").weights, alone.fuse("dare{scale=1}").weights, 1e-7);
}

TEST(Dare, of_equal_experts_knows_them_apart_even_in_one_cache) {
  const TestZoo zoo = random_zoo(2);
  TestZoo first = zoo.first(1);
  TestZoo renamed = first;
  renamed.tasks = {zoo.tasks[1]};
  EXPECT_NE(digest(first.fuse("dare").weights), digest(renamed.fuse("dare").weights));
}

// 40,000 equal entries tau = 1: kept ones become 1 / (1 - p), dropped ones 0.
TEST(Dare, keeps_the_right_fraction_mean_and_variance) {
  constexpr int64_t kEntries = 40000;
  TestZoo zoo = random_zoo(1);
  zoo.base = {{"w", at::zeros({kEntries})}};
  zoo.experts[0] = {{"w", at::zeros({kEntries}) + 1}};
  for (const double p : {0.1, 0.5, 0.9}) {
    const at::Tensor tau =
        zoo.fuse("dare{scale=1,drop_rate=" + std::to_string(p) + "}").weights.at("w").to(at::kDouble);
    const double kept = (tau != 0).to(at::kDouble).mean().item<double>();
    const double standard_error = std::sqrt(p * (1 - p) / kEntries);
    EXPECT_NEAR(kept, 1 - p, 4 * standard_error);
    EXPECT_NEAR(tau.mean().item<double>(), 1, 4 * standard_error / (1 - p));
    const double error = (tau - 1).square().mean().item<double>();
    EXPECT_NEAR(error, p / (1 - p), 0.1 * p / (1 - p));  // E|tau' - tau|^2 = p / (1 - p) |tau|^2
  }
}

TEST(Dare, stays_finite_where_nearly_everything_is_dropped) {
  const TestZoo zoo = random_zoo(2);
  for (const std::string rescale : {"inverse", "l1"}) {
    for (const auto& [name, tensor] : zoo.fuse("dare{drop_rate=0.9999,rescale=" + rescale + "}").weights) {
      EXPECT_TRUE(tensor.eq(tensor).all().item<bool>()) << name;
    }
  }
}

}  // namespace
}  // namespace fusegrid::dare_test
