#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "core/text.h"
#include "support/golden.h"
#include "support/line_zoo.h"
#include "support/test_zoo.h"

namespace fusegrid::randes_test {
namespace {

// +1 and -1 per column of each superposed tensor, per expert.
using Flips = std::vector<Weights>;

// The rule itself in float64; tensors without flips are added.
Weights by_rule(const TestZoo& zoo, const Flips& flips, double scale) {
  Weights models;
  for (const auto& [name, base] : zoo.base) {
    const bool flipped = flips[0].contains(name);
    at::Tensor superposed = at::zeros_like(base, at::TensorOptions(at::kDouble));
    for (size_t i = 0; i < zoo.experts.size(); ++i) {
      const at::Tensor tau = zoo.experts[i].at(name).to(at::kDouble) - base.to(at::kDouble);
      superposed += flipped ? tau * flips[i].at(name) : tau;
    }
    for (size_t i = 0; i < zoo.experts.size(); ++i) {
      const at::Tensor own = flipped ? superposed * flips[i].at(name) : superposed;
      models[zoo.tasks[i] + "/" + name] = base.to(at::kDouble) + own * scale;
    }
  }
  return models;
}

// The rule reproduces the original with the flips that it drew, on the tensors that it takes by name ...
TEST(Randes, rule_equals_fusion_bench_with_its_flips) {
  const Golden golden = read_golden("randes__binary_diagonal");
  const TestZoo zoo = golden_zoo();
  Flips flips(zoo.tasks.size());
  Weights expected;
  for (size_t i = 0; i < zoo.tasks.size(); ++i) {
    for (const std::string& name : split(golden.metadata.at("targets"), ';')) {
      const std::string width = std::to_string(zoo.base.at(name).size(-1));
      flips[i][name] = golden.tensors.at("flips/" + zoo.tasks[i] + "/" + width);
    }
    for (const auto& [name, tensor] : golden.under(zoo.tasks[i])) {
      expected.emplace(zoo.tasks[i] + "/" + name, tensor);
    }
  }
  expect_close(by_rule(zoo, flips, 0.5), expected, 1e-14);
}

// ... and the method follows the rule with its own flips, on everything with two dimensions.
TEST(Randes, follows_the_rule) {
  TestZoo zoo = golden_zoo();
  zoo.seed = 3;
  Flips flips(zoo.tasks.size());
  for (size_t i = 0; i < zoo.tasks.size(); ++i) {
    for (const auto& [name, base] : zoo.base) {
      if (base.dim() > 1) {
        const uint64_t key = derive_key(zoo.seed, "randes/" + zoo.tasks[i] + "/" + name);
        flips[i][name] = (uniform(key, 0, 0, base.size(-1)) < 0.5).to(at::kDouble) * 2 - 1;
      }
    }
  }
  expect_close(zoo.fuse("randes{scale=0.5}").weights, by_rule(zoo, flips, 0.5), 3e-7);
}

TEST(Randes, of_one_expert_gives_it_back) {
  const TestZoo zoo = random_zoo(1);
  const Weights merged = zoo.fuse("randes{scale=1}").weights;
  for (const auto& [name, tensor] : zoo.experts[0]) {
    if (tensor.is_floating_point()) {
      expect_close(merged.at("task0/" + name), tensor, 1.5e-7);
    }
  }
}

// 40,000 columns: the other task's vector is uncorrelated with what a task gets back.
TEST(Randes, turns_other_tasks_into_noise) {
  TestZoo zoo = random_zoo(2);
  zoo.base = {{"w", at::ones({1, 40000})}};
  zoo.experts = {{{"w", at::ones({1, 40000}) * 3}}, {{"w", at::ones({1, 40000}) * 2}}};
  const at::Tensor noise = zoo.fuse("randes{scale=1}").weights.at("task0/w") - 3;
  EXPECT_NEAR(noise.mean().item<double>(), 0, 4 / 200.0);  // +1 or -1 each: standard error 1 / 200
  EXPECT_NEAR(noise.square().mean().item<double>(), 1, 1e-6);
}

TEST(Randes, of_unflipped_tensors_is_task_arithmetic) {
  const TestZoo zoo = line_zoo({{1, 2}, {3, -1}});
  const Weights merged = zoo.fuse("randes{scale=0.5}").weights;
  expect_line(merged.at("task0/w") - 1, {2, 0.5});
  expect_line(merged.at("task1/w") - 1, {2, 0.5});
}

// Blocks of 65,536 elements end inside a row: the columns must go on where they stopped.
TEST(Randes, counts_columns_across_blocks) {
  TestZoo zoo = random_zoo(1);
  zoo.base = {{"w", at::ones({100, 1000})}};
  zoo.experts = {{{"w", at::ones({100, 1000}) * 2}}};
  zoo.tasks = {"a", "b"};
  zoo.experts.push_back({{"w", at::ones({100, 1000}) * 2}});
  const at::Tensor model = zoo.fuse("randes{scale=1}").weights.at("a/w");
  for (const int64_t row : {int64_t{1}, int64_t{65}, int64_t{66}, int64_t{99}}) {
    EXPECT_TRUE(model[row].equal(model[0])) << row;
  }
  EXPECT_GT((model[0] == 3).sum().item<int64_t>(), 300);
  EXPECT_GT((model[0] == 1).sum().item<int64_t>(), 300);
}

}  // namespace
}  // namespace fusegrid::randes_test
