#include <cmath>

#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "core/errors.h"
#include "fusion/whole_model/exact_pareto.h"
#include "methods/adamerging_checks.h"

namespace fusegrid::pwe_moe_test {
namespace {

constexpr int64_t kAll = 1 << 16;  // examples: all that there are

double loss_of(const TestZoo& zoo, const Weights& weights, const std::string& task) {
  const Examples examples = zoo.data.examples(task, "train", -1);
  const at::Tensor logits = zoo.network->output(weights, zoo.network->ready(examples.inputs), task);
  return at::cross_entropy_loss(logits.to(at::kDouble), examples.labels).item<double>();
}

// The coefficients of a tensor of a merge of two experts.
std::vector<double> coefficients_of(const TestZoo& zoo, const Weights& merged, const std::string& name) {
  const at::Tensor base = zoo.base.at(name).to(at::kDouble);
  const at::Tensor first = zoo.experts[0].at(name) - base;
  const at::Tensor second = zoo.experts[1].at(name) - base;
  const at::Tensor moved = merged.at(name) - base;
  const auto product = [](const at::Tensor& a, const at::Tensor& b) { return (a * b).sum().item<double>(); };
  const double a = product(first, first), b = product(first, second), c = product(second, second);
  const double x = product(first, moved), y = product(second, moved);
  return {(c * x - b * y) / (a * c - b * b), (a * y - b * x) / (a * c - b * b)};
}

bool is_of_mlp(const std::string& name) {
  return name.find(".mlp.") != std::string::npos;
}
bool is_of_attention(const std::string& name) {
  return name.find(".self_attn.") != std::string::npos;
}

TEST(PweMoe, without_layers_and_steps_is_task_arithmetic) {
  const TestZoo zoo = random_zoo(3);
  expect_close(zoo.fuse("pwe_moe{layers=0,steps=0,scale=0.25}").weights,
               zoo.fuse("task_arithmetic{scale=0.25}").weights, 2e-7);
}

TEST(PweMoe, without_steps_starts_near_task_arithmetic) {
  const TestZoo zoo = random_zoo(3);
  for (const std::string layers : {"1", "2"}) {
    const Weights merged =
        zoo.fuse("pwe_moe{steps=0,scale=0.3,preference=1:2:3,layers=" + layers + "}").weights;
    expect_close(merged, zoo.fuse("task_arithmetic{scale=0.3}").weights, 5e-3);
  }
}

TEST(PweMoe, has_routers_of_attentions_and_mlps_alone) {
  const TestZoo zoo = random_zoo(2, 0.3);
  for (const bool attention : {false, true}) {
    const Weights merged =
        zoo.fuse("pwe_moe{steps=3,batch=8,lr=0.05,attention=" + std::string(attention ? "true" : "false") +
                 "}")
            .weights;
    const Weights arithmetic = zoo.fuse("task_arithmetic{scale=0.3}").weights;
    for (const auto& [name, tensor] : merged) {
      const bool routed = is_of_mlp(name) || (attention && is_of_attention(name));
      const double apart = (tensor - arithmetic.at(name)).abs().max().item<double>();
      EXPECT_EQ(apart > 1e-4, routed) << name;
    }
  }
}

TEST(PweMoe, has_routers_of_a_decoders_attentions_and_mlps) {
  const TestZoo zoo = choice_zoo(2, 0.2);
  const Weights merged = zoo.fuse("pwe_moe{steps=3,batch=4,lr=0.05}").weights;
  const Weights arithmetic = zoo.fuse("task_arithmetic{scale=0.3}").weights;
  for (const auto& [name, tensor] : merged) {
    const bool routed = name.find(".attn.c_") != std::string::npos || is_of_mlp(name);
    EXPECT_EQ((tensor - arithmetic.at(name)).abs().max().item<double>() > 1e-4, routed) << name;
  }
}

// Adam's first step of a module's coefficients goes against the slope of the loss, which finite differences tell too,
// for all tensors of the module alike.
TEST(PweMoe, moves_coefficients_of_modules_against_their_finite_difference) {
  const TestZoo zoo = random_zoo(2, 0.3);
  std::vector<double> drawn;
  for (const std::string& task : zoo.tasks) {
    const uint64_t key = derive_key(zoo.seed, "pwe_moe/preference/" + task);
    drawn.push_back(-std::log1p(-uniform(key, 0, 0, 1).item<double>()));
  }
  const Weights start = zoo.fuse("task_arithmetic{scale=0.3}").weights;
  const Weights merged =
      zoo.fuse("pwe_moe{layers=0,steps=1,lr=0.01,batch=" + std::to_string(kAll) + "}").weights;
  for (const std::string block : {"layers.0.", "layers.1."}) {
    for (const bool mlp : {false, true}) {
      const auto is_of_module = [&](const std::string& name) {
        return name.find(block) != std::string::npos && (mlp ? is_of_mlp(name) : is_of_attention(name));
      };
      for (size_t i = 0; i < 2; ++i) {
        const auto loss_at = [&](double shift) {
          Weights weights = start;
          for (auto& [name, tensor] : weights) {
            if (is_of_module(name)) {
              tensor = tensor + (zoo.experts[i].at(name) - zoo.base.at(name)) * shift;
            }
          }
          return (drawn[0] * loss_of(zoo, weights, "task0") + drawn[1] * loss_of(zoo, weights, "task1")) /
                 (drawn[0] + drawn[1]);
        };
        const double slope = (loss_at(0.01) - loss_at(-0.01)) / 0.02;
        ASSERT_GT(std::abs(slope), 1e-3) << "the test needs a clear slope";
        for (const auto& [name, tensor] : merged) {
          if (is_of_module(name)) {
            EXPECT_NEAR(coefficients_of(zoo, merged, name)[i], 0.3 - (slope > 0 ? 0.01 : -0.01), 1e-4)
                << name;
          }
        }
      }
    }
  }
}

// Exact Pareto search takes the same step against what its weights make of the tasks' slopes, those of all modules.
TEST(PweMoe, moves_coefficients_against_the_slope_of_the_exact_search) {
  const TestZoo zoo = random_zoo(2, 0.3);
  const Weights start = zoo.fuse("task_arithmetic{scale=0.3}").weights;
  std::vector<double> preference, losses;
  for (const std::string& task : zoo.tasks) {
    const uint64_t key = derive_key(zoo.seed, "pwe_moe/preference/" + task);
    preference.push_back(-std::log1p(-uniform(key, 0, 0, 1).item<double>()));
    losses.push_back(loss_of(zoo, start, task));
  }
  const double sum = preference[0] + preference[1];
  preference = {preference[0] / sum, preference[1] / sum};
  struct Entry {
    std::string block;
    bool mlp = false;
    size_t expert = 0;
    bool has(const std::string& name) const {
      return name.find(block) != std::string::npos && (mlp ? is_of_mlp(name) : is_of_attention(name));
    }
  };
  std::vector<Entry> entries;
  std::vector<std::vector<double>> slopes(2);  // of each task, by entry
  for (const std::string block : {"layers.0.", "layers.1."}) {
    for (const bool mlp : {false, true}) {
      for (const size_t expert : {size_t{0}, size_t{1}}) {
        entries.push_back({block, mlp, expert});
        const auto moved = [&](double shift) {
          Weights weights = start;
          for (auto& [name, tensor] : weights) {
            if (entries.back().has(name)) {
              tensor = tensor + (zoo.experts[expert].at(name) - zoo.base.at(name)) * shift;
            }
          }
          return weights;
        };
        const Weights above = moved(0.01), below = moved(-0.01);
        for (size_t task = 0; task < 2; ++task) {
          slopes[task].push_back(
              (loss_of(zoo, above, zoo.tasks[task]) - loss_of(zoo, below, zoo.tasks[task])) / 0.02);
        }
      }
    }
  }
  const auto row = [](const std::vector<double>& numbers) {
    return at::tensor(at::ArrayRef<double>(numbers), at::TensorOptions(at::kDouble));
  };
  const at::Tensor gradients = at::stack({row(slopes[0]), row(slopes[1])});
  const std::vector<double> weights =
      exact_pareto_weights(losses, at::matmul(gradients, gradients.t()).contiguous(), preference);
  const Weights merged =
      zoo.fuse("pwe_moe{solver=exact_pareto,layers=0,steps=1,lr=0.01,batch=" + std::to_string(kAll) + "}")
          .weights;
  int64_t clear = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    const double slope = weights[0] * slopes[0][i] + weights[1] * slopes[1][i];
    for (const auto& [name, tensor] : merged) {
      if (std::abs(slope) > 1e-3 && entries[i].has(name)) {
        const double expected = 0.3 - (slope > 0 ? 0.01 : -0.01);
        EXPECT_NEAR(coefficients_of(zoo, merged, name)[entries[i].expert], expected, 1e-4) << name;
        ++clear;
      }
    }
  }
  EXPECT_GT(clear, 10);
}

TEST(PweMoe, lowers_the_loss_of_the_preferred_task_most) {
  const TestZoo zoo = random_zoo(2, 0.3);
  const std::string call = "pwe_moe{steps=60,batch=24,lr=0.05,preference=";
  const Weights first = zoo.fuse(call + "1:0}").weights;
  const Weights second = zoo.fuse(call + "0:1}").weights;
  EXPECT_LT(loss_of(zoo, first, "task0"), loss_of(zoo, second, "task0") - 0.01);
  EXPECT_LT(loss_of(zoo, second, "task1"), loss_of(zoo, first, "task1") - 0.01);
  const Weights equal = zoo.fuse(call + "1}").weights;
  const Weights start = zoo.fuse("task_arithmetic{scale=0.3}").weights;
  const auto sum = [&](const Weights& weights) {
    return loss_of(zoo, weights, "task0") + loss_of(zoo, weights, "task1");
  };
  EXPECT_LT(sum(equal), sum(start) - 0.01);
}

TEST(PweMoe, trains_once_for_all_preferences) {
  const TestZoo zoo = random_zoo(2, 0.3);
  for (const std::string preference : {"1", "1:0", "3:1"}) {
    zoo.fuse("pwe_moe{steps=2,batch=4,preference=" + preference + "}");
  }
  int64_t trained = 0;
  for (const auto& [key, count] : zoo.cache->computed()) {
    trained += key.find("pwe_moe") == std::string::npos ? 0 : count;
  }
  EXPECT_EQ(trained, 1);
}

TEST(PweMoe, counts_preferences_by_their_shares) {
  const TestZoo zoo = random_zoo(2, 0.3);
  EXPECT_EQ(digest(zoo.fuse("pwe_moe{steps=2,batch=4,preference=1:3}").weights),
            digest(zoo.fuse("pwe_moe{steps=2,batch=4,preference=2:6}").weights));
}

TEST(PweMoe, refuses_preferences_that_fit_no_experts) {
  const Method& method = method_registry().at("pwe_moe");
  EXPECT_THAT(
      [&] {
        method.check({{"preference", "1:2"}}, method.card, 3);
      },
      testing::ThrowsMessage<ConfigError>(testing::HasSubstr("one number per expert")));
  EXPECT_THAT(
      [&] {
        method.check({{"preference", "0"}}, method.card, 3);
      },
      testing::ThrowsMessage<ConfigError>(testing::HasSubstr("no number above zero")));
}

TEST(PweMoe, of_models_without_blocks_is_refused) {
  const TestZoo zoo = random_zoo(2);
  zoo.network->architecture = make_architecture(
      {{"model_type", "mlp"}, {"image_size", 8}, {"hidden_sizes", nlohmann::json::array({2})}});
  EXPECT_THAT([&] { zoo.fuse("pwe_moe"); },
              testing::ThrowsMessage<ConfigError>(testing::HasSubstr("'pwe_moe' needs a stack of blocks")));
}

}  // namespace
}  // namespace fusegrid::pwe_moe_test
