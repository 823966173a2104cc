#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "core/philox.h"
#include "support/golden.h"
#include "support/line_zoo.h"
#include "support/test_zoo.h"

namespace fusegrid::della_test {
namespace {

const std::vector<double> kWeights{0.5, 0.3, 0.2, 0.4};

// mergekit's merge of masked task vectors in float64, rescaled to their L1 norms.
Weights by_rule(const TestZoo& zoo, const std::vector<Weights>& masks, bool elect, double scale) {
  Weights result;
  for (const auto& [name, base] : zoo.base) {
    std::vector<at::Tensor> vectors;
    at::Tensor sum = at::zeros_like(base, at::TensorOptions(at::kDouble));
    for (size_t i = 0; i < zoo.experts.size(); ++i) {
      const at::Tensor tau = zoo.experts[i].at(name).to(at::kDouble) - base.to(at::kDouble);
      const at::Tensor kept = tau * masks[i].at(name);
      const double l1 = kept.abs().sum().item<double>();
      vectors.push_back(kept * (l1 < 1e-7 ? 1 : tau.abs().sum().item<double>() / l1) * kWeights[i]);
      sum += vectors.back();
    }
    const at::Tensor sign = (sum >= 0).to(at::kDouble) * 2 - 1;
    at::Tensor merged = at::zeros_like(sum);
    at::Tensor divisor = at::zeros_like(sum);
    for (size_t i = 0; i < vectors.size(); ++i) {
      const at::Tensor agrees = vectors[i].sign() == sign;
      merged += elect ? vectors[i] * agrees : vectors[i];
      divisor += agrees * kWeights[i];
    }
    merged = elect ? merged / divisor.masked_fill(divisor == 0, 1.0) : merged;
    result[name] = base.to(at::kDouble) + merged * scale;
  }
  return result;
}

std::vector<Weights> under_experts(const Golden& golden, const std::string& prefix, const TestZoo& zoo) {
  std::vector<Weights> found;
  for (const std::string& task : zoo.tasks) {
    found.push_back(golden.under(prefix + "/" + task));
  }
  return found;
}

// Ranks within rows, of magnitudes without ties, by counting smaller ones.
at::Tensor probability_by_counting(const at::Tensor& tau, double density, double epsilon) {
  const at::Tensor rows = tau.abs().reshape({tau.dim() < 2 ? 1 : tau.size(0), -1});
  const at::Tensor rank = (rows.unsqueeze(1) < rows.unsqueeze(2)).sum(2).to(at::kDouble);
  const auto last = static_cast<double>(rows.size(1) - 1);
  return (density - epsilon + 2 * epsilon * rank / last).view(tau.sizes());
}

bool has_ties(const at::Tensor& tau) {
  const at::Tensor rows = tau.abs().reshape({tau.dim() < 2 ? 1 : tau.size(0), -1});
  const at::Tensor equal = (rows.unsqueeze(1) == rows.unsqueeze(2)).sum();
  return equal.item<int64_t>() > rows.numel();
}

// The rule reproduces the original with the masks that it drew ...
TEST(Della, rule_equals_mergekit_with_its_masks) {
  const TestZoo zoo = golden_zoo();
  for (const std::string file : {"ties", "linear"}) {
    const Golden golden = read_golden("della__mergekit_" + file);
    expect_close(by_rule(zoo, under_experts(golden, "mask", zoo), file == "ties", 0.7), golden.under(""),
                 1.2e-7);
  }
}

// ... its probabilities are those of ranks within rows (mergekit ranks convolutions along another axis) ...
TEST(Della, probabilities_equal_mergekits) {
  const TestZoo zoo = golden_zoo();
  const Golden golden = read_golden("della__mergekit_ties");
  int compared = 0;
  for (size_t i = 0; i < zoo.experts.size(); ++i) {
    for (const auto& [name, probability] : golden.under("probability/" + zoo.tasks[i])) {
      const at::Tensor tau = zoo.experts[i].at(name) - zoo.base.at(name);
      if (tau.dim() < 3 && !has_ties(tau)) {
        expect_close(probability, probability_by_counting(tau, 0.5, 0.15), 1e-7);
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 50);
}

// ... and the method follows the rule with its own draws.
TEST(Della, follows_the_rule) {
  TestZoo zoo = golden_zoo();
  zoo.seed = 5;
  for (Weights* model : {&zoo.base, &zoo.experts[0], &zoo.experts[1], &zoo.experts[2], &zoo.experts[3]}) {
    for (const char* coarse : {"self_attn.v_proj.weight", "mlp.fc1.bias"}) {  // with ties
      model->erase(std::string("vision_model.encoder.layers.0.") + coarse);
    }
  }
  std::vector<Weights> masks(zoo.tasks.size());
  for (size_t i = 0; i < masks.size(); ++i) {
    int64_t begin = 0;
    for (const auto& [name, base] : zoo.base) {
      const at::Tensor tau = zoo.experts[i].at(name) - base;
      const at::Tensor random =
          uniform(derive_key(zoo.seed, "della/" + zoo.tasks[i]), 0, begin, base.numel());
      masks[i][name] = random.view(base.sizes()).to(at::kDouble) < probability_by_counting(tau, 0.4, 0.2);
      begin += base.numel();
    }
  }
  const std::string call = "della{density=0.4,epsilon=0.2,rescale=l1,scale=0.7,weights=0.5:0.3:0.2:0.4,";
  for (const bool elect : {true, false}) {
    const std::string end = elect ? "elect=true,merge=mean}" : "elect=false,merge=sum}";
    Weights merged = zoo.fuse(call + end).weights;
    Weights expected = by_rule(zoo, masks, elect, 0.7);
    for (const char* tied : {"post_layernorm.bias", "encoder.layers.0.mlp.fc2.bias"}) {  // all zero: no ranks
      merged.erase(std::string("vision_model.") + tied);
      expected.erase(std::string("vision_model.") + tied);
    }
    expect_close(merged, expected, 1e-6);
  }
}

// 40,000 equal rows of two entries: the small one is kept with 0.3, the large one with 0.7, each divided by that.
TEST(Della, keeps_large_entries_more_often_and_rescales_each_by_its_own_probability) {
  constexpr int64_t kRows = 40000;
  TestZoo zoo = random_zoo(1);
  zoo.base = {{"w", at::zeros({kRows, 2})}};
  zoo.experts[0] = {{"w", at::zeros({kRows, 2}) + 1}};
  zoo.experts[0].at("w").select(1, 1).fill_(2);
  const at::Tensor merged = zoo.fuse("della{density=0.5,epsilon=0.2,elect=false,merge=sum,scale=1}")
                                .weights.at("w")
                                .to(at::kDouble);
  const double error = std::sqrt(0.3 * 0.7 / kRows);
  EXPECT_NEAR((merged.select(1, 0) != 0).to(at::kDouble).mean().item<double>(), 0.3, 4 * error);
  EXPECT_NEAR((merged.select(1, 1) != 0).to(at::kDouble).mean().item<double>(), 0.7, 4 * error);
  EXPECT_NEAR(merged.select(1, 0).mean().item<double>(), 1, 4 * error / 0.3);
  EXPECT_NEAR(merged.select(1, 1).mean().item<double>(), 2, 2 * 4 * error / 0.7);
}

TEST(Della, that_keeps_everything_is_task_arithmetic_or_ties) {
  const TestZoo zoo = random_zoo(3);
  expect_close(zoo.fuse("della{density=1,elect=false,merge=sum,scale=0.4}").weights,
               zoo.fuse("task_arithmetic{scale=0.4}").weights, 2e-7);
  expect_close(zoo.fuse("della{density=1,scale=0.4}").weights,
               zoo.fuse("ties{density=1,dialect=mergekit,merge=mean,scale=0.4}").weights, 2e-7);
}

TEST(Della, refuses_probabilities_outside_of_zero_to_one) {
  EXPECT_THROW(random_zoo(2).fuse("della{density=0.9,epsilon=0.15}"), ConfigError);
  EXPECT_THROW(random_zoo(2).fuse("della{density=0.1,epsilon=0.1}"), ConfigError);
}

}  // namespace
}  // namespace fusegrid::della_test
