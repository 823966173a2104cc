#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "core/concatenate.h"
#include "support/drop_masks.h"
#include "support/golden.h"
#include "support/line_zoo.h"
#include "support/test_zoo.h"

namespace fusegrid::dare_ties_test {
namespace {

struct Rule {
  double factor = 2;  // of what is kept; 0: per tensor, so that the L1 norm is kept
  double density = 0.2;
  double scale = 0.5;
  std::vector<double> weights = {1, 1, 1, 1};
};

// The dropped, rescaled and weighted task vectors of one tensor.
at::Tensor dropped(const TestZoo& zoo, size_t expert, const std::string& name, const Weights& mask,
                   const Rule& rule) {
  const at::Tensor tau = zoo.experts[expert].at(name).to(at::kDouble) - zoo.base.at(name).to(at::kDouble);
  const at::Tensor kept = tau * mask.at(name);
  const double l1 = kept.abs().sum().item<double>();
  const double own = l1 < 1e-7 ? 1 : tau.abs().sum().item<double>() / l1;
  return kept * (rule.factor == 0 ? own : rule.factor) * rule.weights[expert];
}

// DARE-TIES in float64, with one long vector per expert: the sum of what agrees.
Weights by_rule(const TestZoo& zoo, const std::vector<Weights>& masks, const Rule& rule) {
  std::vector<at::Tensor> vectors;
  for (size_t i = 0; i < zoo.experts.size(); ++i) {
    std::vector<at::Tensor> parts;
    for (const auto& [name, base] : zoo.base) {
      parts.push_back(dropped(zoo, i, name, masks[i], rule).reshape({-1}));
    }
    at::Tensor vector = concatenate(parts);
    const auto kept = static_cast<int64_t>(static_cast<double>(vector.numel()) * rule.density);
    if (kept < vector.numel()) {
      const at::Tensor threshold = std::get<0>(vector.abs().sort())[vector.numel() - kept - 1];
      vector = vector * (vector.abs() >= threshold);
    }
    vectors.push_back(vector);
  }
  at::Tensor sum = at::zeros_like(vectors[0]);
  for (const at::Tensor& vector : vectors) {
    sum += vector;
  }
  const at::Tensor sign = sum.sign() + (sum == 0) * sum.sign().sum().sign();
  at::Tensor merged = at::zeros_like(sum);
  for (const at::Tensor& vector : vectors) {
    merged += vector * (vector.sign() == sign);
  }
  Weights result;
  int64_t begin = 0;
  for (const auto& [name, base] : zoo.base) {
    const at::Tensor step = merged.narrow(0, begin, base.numel()).view(base.sizes());
    result[name] = base.to(at::kDouble) + step * rule.scale;
    begin += base.numel();
  }
  return result;
}

std::vector<Weights> golden_masks(const Golden& golden, const TestZoo& zoo) {
  std::vector<Weights> masks;
  for (const std::string& task : zoo.tasks) {
    masks.push_back(golden.under("mask/" + task));
  }
  return masks;
}

// The rule reproduces both originals with the masks that they drew ...
TEST(DareTies, rule_equals_fusion_bench_and_mergekit_with_their_masks) {
  const TestZoo zoo = golden_zoo();
  const Golden fusion_bench = read_golden("dare_ties__fusionbench_density02_sum");
  expect_close(by_rule(zoo, golden_masks(fusion_bench, zoo), {}), fusion_bench.under(""), 1e-14);
  const Golden mergekit = read_golden("dare_ties__mergekit_rescaled");  // float32
  const Rule rule{.factor = 0, .density = 1, .scale = 0.7, .weights = {0.5, 0.3, 0.2, 0.4}};
  expect_close(by_rule(zoo, golden_masks(mergekit, zoo), rule), mergekit.under(""), 1.2e-7);
}

// ... and the method follows the rule with its own masks.
TEST(DareTies, follows_the_rule) {
  TestZoo zoo = golden_zoo();
  zoo.seed = 5;
  const auto masks = drop_masks(zoo, 0.5);
  expect_close(zoo.fuse("dare_ties").weights, by_rule(zoo, masks, {}), 1e-6);
  expect_close(
      zoo.fuse("dare_ties{rescale=l1,density=1,scale=0.7,weights=0.5:0.3:0.2:0.4}").weights,
      by_rule(zoo, masks, {.factor = 0, .density = 1, .scale = 0.7, .weights = {0.5, 0.3, 0.2, 0.4}}), 1e-6);
}

TEST(DareTies, that_drops_nothing_is_ties) {
  const TestZoo zoo = random_zoo(3);
  for (const std::string merge : {"sum", "mean", "max"}) {
    const std::string options = "density=0.3,scale=0.4,merge=" + merge + "}";
    expect_close(zoo.fuse("dare_ties{drop_rate=0," + options).weights, zoo.fuse("ties{" + options).weights,
                 2e-7);
  }
}

// One expert, nothing trimmed: DARE itself, with the same masks.
TEST(DareTies, of_one_expert_that_keeps_everything_is_dare) {
  TestZoo zoo = random_zoo(1);
  zoo.seed = 9;
  expect_close(zoo.fuse("dare_ties{density=1,drop_rate=0.7,scale=0.4}").weights,
               zoo.fuse("dare{drop_rate=0.7,scale=0.4}").weights, 3e-7);
}

}  // namespace
}  // namespace fusegrid::dare_ties_test
