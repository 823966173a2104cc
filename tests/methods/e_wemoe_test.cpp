#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/quantile.h>
#include <gtest/gtest.h>

#include "fusion/fusion_input.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::e_wemoe_test {
namespace {

bool is_of_mlp(const std::string& name) {
  return name.find(".mlp.") != std::string::npos;
}

TEST(EWemoe, keeps_the_entries_above_torchs_quantile_of_each_tensor) {
  const TestZoo zoo = random_zoo(2, 0.3);
  for (const auto& [text, density] :
       std::vector<std::pair<std::string, double>>{{"0.1", 0.1}, {"0.35", 0.35}}) {
    const Merged merged = zoo.fuse("e_wemoe{steps=0,density=" + text + "}");
    for (const auto& [name, base] : zoo.base) {
      if (!is_of_mlp(name)) {
        continue;
      }
      for (size_t i = 0; i < 2; ++i) {
        const at::Tensor tau = zoo.experts[i].at(name) - base;
        const at::Tensor limit = at::quantile(tau.abs().to(at::kDouble), 1 - density);
        EXPECT_TRUE(merged.weights.at(name + "/tau" + std::to_string(i)).equal(tau * (tau.abs() > limit)))
            << name;
      }
    }
  }
}

TEST(EWemoe, has_one_router_for_all_blocks) {
  const Merged merged = random_zoo(2).fuse("e_wemoe{steps=2,batch=4,layers=1}");
  const auto routers = std::count_if(merged.weights.begin(), merged.weights.end(),
                                     [](const auto& entry) { return entry.first.starts_with("router"); });
  EXPECT_EQ(routers, 2) << "a weight and a bias";
}

TEST(EWemoe, with_all_entries_and_constant_gates_is_task_arithmetic_where_there_are_no_steps) {
  const TestZoo zoo = random_zoo(3);
  const Merged merged = zoo.fuse("e_wemoe{layers=0,steps=0,density=1,scale=0.2}");
  const Weights arithmetic = zoo.fuse("task_arithmetic{scale=0.2}").weights;
  for (const std::string& task : zoo.tasks) {
    expect_close(zoo.logits(merged, task), zoo.logits_of(arithmetic, task), 2e-5);
  }
}

// With all entries and a router of each block it would be WEMoE: the first block's router is the same.
TEST(EWemoe, begins_with_the_router_of_wemoe) {
  const TestZoo zoo = random_zoo(2);
  const std::string name = "router0.0.weight";
  EXPECT_TRUE(
      zoo.fuse("e_wemoe{steps=0}").weights.at(name).equal(zoo.fuse("wemoe{steps=0}").weights.at(name)));
}

// The router's gradient is that of the sum over blocks: Adam's first step of constant gates, which finite differences
// of the entropy tell too.
TEST(EWemoe, moves_gates_against_their_finite_difference) {
  const TestZoo zoo = random_zoo(2, 0.3);
  const auto entropy_at = [&](const std::vector<double>& gates) {
    Weights weights = zoo.base;
    for (auto& [name, tensor] : weights) {
      if (tensor.is_floating_point()) {
        tensor = tensor.clone();
        for (size_t i = 0; i < 2; ++i) {
          tensor += (zoo.experts[i].at(name) - zoo.base.at(name)) * (is_of_mlp(name) ? gates[i] : 0.3);
        }
      }
    }
    double sum = 0;
    for (const std::string& task : zoo.tasks) {
      const at::Tensor log_p = at::log_softmax(zoo.logits_of(weights, task).to(at::kDouble), 1);
      sum -= (log_p.exp() * log_p).sum(1).mean().item<double>();
    }
    return sum;
  };
  const Merged stepped = zoo.fuse("e_wemoe{layers=0,steps=1,batch=20,density=1,lr=0.001}");
  const at::Tensor gates = stepped.weights.at("router0.0.bias");
  for (size_t i = 0; i < 2; ++i) {
    std::vector<double> above{0.3, 0.3};
    std::vector<double> below = above;
    above[i] += 0.01;
    below[i] -= 0.01;
    const double slope = (entropy_at(above) - entropy_at(below)) / 0.02;
    ASSERT_GT(std::abs(slope), 1e-3) << "the test needs a clear slope";
    EXPECT_NEAR(gates[static_cast<int64_t>(i)].item<double>(), 0.3 - (slope > 0 ? 0.001 : -0.001), 1e-6);
  }
}

TEST(EWemoe, stores_the_kept_entries_and_a_bit_for_each) {
  const TestZoo zoo = random_zoo(2, 0.3);
  double expected = static_cast<double>(num_parameters(zoo.base)) + 2 * 8 + 2;  // and a router of one layer
  for (const auto& [name, base] : zoo.base) {
    if (is_of_mlp(name)) {
      const int64_t last = base.numel() - 1;
      const auto kept = last - static_cast<int64_t>(std::floor(0.9 * static_cast<double>(last)));
      expected += 2 * (static_cast<double>(kept) + static_cast<double>(base.numel()) / 32);
    }
  }
  EXPECT_DOUBLE_EQ(zoo.fuse("e_wemoe{steps=0,layers=1}").stored_parameters, expected);
}

}  // namespace
}  // namespace fusegrid::e_wemoe_test
