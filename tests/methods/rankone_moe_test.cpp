#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/concatenate.h"
#include "core/errors.h"
#include "core/philox.h"
#include "fusion/fusion_input.h"
#include "fusion/subspaces/svd.h"
#include "fusion/whole_model/routed_mlp.h"
#include "methods/routed_checks.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::rankone_moe_test {
namespace {

const std::string kMlp = "vision_model.encoder.layers.0.mlp.";

bool is_of_mlp(const std::string& name) {
  return name.find(".mlp.") != std::string::npos;
}

// The base with scale * tau_i, of which the weights of the MLPs keep `rank` singular triplets.
Weights low_rank_arithmetic(const TestZoo& zoo, int64_t rank, double scale) {
  Weights merged = zoo.base;
  for (auto& [name, tensor] : merged) {
    for (const Weights& expert : zoo.experts) {
      if (!tensor.is_floating_point()) {
        continue;
      }
      at::Tensor tau = (expert.at(name) - zoo.base.at(name)).to(at::kDouble);
      if (is_of_mlp(name) && tau.dim() == 2) {
        const auto [u, s, vh] = at::linalg_svd(tau, false);
        tau = at::matmul(u.narrow(1, 0, rank) * s.narrow(0, 0, rank), vh.narrow(0, 0, rank));
      }
      tensor = tensor + (tau * scale).to(at::kFloat);
    }
  }
  return merged;
}

// Of an MLP of the zoo in float64: base, rank-one experts and a router of one layer.
struct Mlp {
  TestZoo zoo = random_zoo(2, 0.3);
  const Blocks& blocks = *zoo.network->architecture->blocks();
  Weights base, experts;
  at::Tensor x = normal(1, 0, 0, 3 * 4 * 8).view({3, 4, 8}).to(at::kDouble);
  at::Tensor weight = normal(2, 0, 0, 6 * 8).view({6, 8}).to(at::kDouble);  // 6 gates
  at::Tensor bias = normal(3, 0, 0, 6).to(at::kDouble);

  Mlp() {
    for (const auto& [name, tensor] : zoo.base) {
      if (name.starts_with(kMlp)) {
        base.emplace(name, tensor.to(at::kDouble));
      }
    }
    uint64_t key = 4;
    for (const Layer& layer : blocks.mlp_layers(0)) {
      const RankOneNames names(layer.weight);
      const at::Tensor& matrix = base.at(layer.weight);
      experts[names.left] = normal(key++, 0, 0, matrix.size(0) * 6).view({-1, 6}).to(at::kDouble);
      experts[names.right] = normal(key++, 0, 0, matrix.size(1) * 6).view({-1, 6}).to(at::kDouble);
    }
  }
  at::Tensor gates() const { return router_gates({{weight, bias}}, x, {}); }
  at::Tensor output(const at::Tensor& gates) const {
    return rank_one_mlp(blocks, 0, base, experts, gates, x);
  }
};

// In float64 on the golden zoo's MLP, with three triplets of each expert: outputs and the routers' gradients.
TEST(RankOneMlp, equals_fusion_bench) {
  const TestZoo zoo = golden_zoo();
  const Blocks& blocks = *zoo.network->architecture->blocks();
  Weights base;
  Weights experts;
  for (const Layer& layer : blocks.mlp_layers(0)) {
    at::Tensor bias = zoo.base.at(layer.bias).to(at::kDouble);
    const at::Tensor weight = zoo.base.at(layer.weight).to(at::kDouble);
    std::vector<at::Tensor> left;
    std::vector<at::Tensor> right;
    for (const Weights& expert : zoo.experts) {
      bias = bias + (expert.at(layer.bias) - zoo.base.at(layer.bias)).to(at::kDouble) * 0.3;
      const Svd svd = significant_svd(expert.at(layer.weight).to(at::kDouble) - weight, 3);
      ASSERT_EQ(svd.rank(), 3);
      left.push_back(svd.u * svd.s);
      right.push_back(svd.v);
    }
    base[layer.weight] = weight;
    base[layer.bias] = bias;
    const RankOneNames names(layer.weight);
    experts[names.left] = concatenate(left, 1);
    experts[names.right] = concatenate(right, 1);
  }
  for (const std::string file : {"router1_sample", "router1_batch", "router0_batch"}) {
    const Golden golden = read_golden("rankone_moe__" + file);
    const Weights original = golden.under("router");
    const bool layer = file.starts_with("router1");
    const at::AutoGradMode with_gradients(true);
    const auto leaf = [&](const std::string& name) { return original.at(name).clone().requires_grad_(true); };
    const RouterLayer router{layer ? leaf("fc.weight") : at::Tensor(), leaf(layer ? "fc.bias" : "weight")};
    const at::Tensor hidden = golden.tensors.at("hidden_states");
    const at::Tensor gates = router_gates({router}, hidden, {.batch_reduce = file.ends_with("batch")});
    const at::Tensor output = rank_one_mlp(blocks, 0, base, experts, gates, hidden);
    (output * golden.tensors.at("probe")).sum().backward();

    expect_close(output.detach(), golden.tensors.at("output"), 1e-12);
    const Weights gradients = golden.under("router_gradient");
    expect_close(router.bias.grad(), gradients.at(layer ? "fc.bias" : "weight"), 1e-12);
    if (layer) {
      expect_close(router.weight.grad(), gradients.at("fc.weight"), 1e-12);
    }
  }
}

TEST(RankOneMlp, is_that_of_each_inputs_own_weights) {
  const Mlp mlp;
  const at::Tensor gates = mlp.gates();
  const at::Tensor output = mlp.output(gates);
  for (int64_t i = 0; i < 3; ++i) {
    Weights own = mlp.base;
    for (const Layer& layer : mlp.blocks.mlp_layers(0)) {
      const RankOneNames names(layer.weight);
      own[layer.weight] = own.at(layer.weight) + at::matmul(mlp.experts.at(names.left) * gates[i][0],
                                                            mlp.experts.at(names.right).t());
    }
    expect_close(output.narrow(0, i, 1), mlp.blocks.mlp(own, 0, mlp.x.narrow(0, i, 1), {}), 1e-11);
  }
}

TEST(RankOneMlp, has_the_routers_gradient_of_finite_differences) {
  Mlp mlp;
  const at::Tensor probe = normal(9, 0, 0, 3 * 4 * 8).view({3, 4, 8}).to(at::kDouble);
  for (at::Tensor Mlp::*part : {&Mlp::weight, &Mlp::bias}) {
    {
      const at::AutoGradMode with_gradients(true);
      (mlp.*part).requires_grad_(true);
      (mlp.output(mlp.gates()) * probe).sum().backward();
    }
    const at::Tensor gradient = (mlp.*part).grad().reshape({-1});
    (mlp.*part) = (mlp.*part).detach();
    for (int64_t i = 0; i < gradient.numel(); i += 5) {
      const auto at_shift = [&](double shift) {
        Mlp moved = mlp;
        (moved.*part) = (mlp.*part).clone();
        (moved.*part).view({-1})[i] += shift;
        return (moved.output(moved.gates()) * probe).sum().item<double>();
      };
      const double slope = (at_shift(1e-5) - at_shift(-1e-5)) / 2e-5;
      EXPECT_NEAR(gradient[i].item<double>(), slope, 1e-5 * std::max(1.0, std::abs(slope)));
    }
  }
}

TEST(RankOneMoe, with_constant_gates_and_no_steps_is_low_rank_task_arithmetic) {
  const TestZoo zoo = random_zoo(3, 0.2);
  for (const int64_t rank : {1, 3, 8}) {
    const Merged merged =
        zoo.fuse("rankone_moe{layers=0,steps=0,scale=0.3,rank=" + std::to_string(rank) + "}");
    const Weights expected = low_rank_arithmetic(zoo, rank, 0.3);
    for (const std::string& task : zoo.tasks) {
      expect_close(zoo.logits(merged, task), zoo.logits_of(expected, task), 2e-5);
    }
  }
}

TEST(RankOneMoe, of_full_rank_with_constant_gates_and_no_steps_is_task_arithmetic) {
  const TestZoo zoo = random_zoo(3);
  const Merged merged = zoo.fuse("rankone_moe{layers=0,steps=0,scale=0.2}");
  const Weights arithmetic = zoo.fuse("task_arithmetic{scale=0.2}").weights;
  for (const std::string& task : zoo.tasks) {
    expect_close(zoo.logits(merged, task), zoo.logits_of(arithmetic, task), 2e-5);
  }
}

TEST(RankOneMoe, moves_gates_against_their_finite_difference) {
  const TestZoo zoo = random_zoo(2, 0.3);
  expect_step_against_the_slope(zoo, zoo.fuse("rankone_moe{layers=0,steps=0,rank=2}"),
                                zoo.fuse("rankone_moe{layers=0,steps=1,batch=20,lr=0.001,rank=2}"),
                                "router0.0.bias", 4, 0.02, 1e-4);
}

TEST(RankOneMoe, training_lowers_the_entropy) {
  const TestZoo zoo = random_zoo(2, 0.3);
  const double before = entropy(zoo, zoo.fuse("rankone_moe{steps=0,rank=4}"));
  EXPECT_LT(entropy(zoo, zoo.fuse("rankone_moe{steps=20,batch=20,lr=0.01,rank=4}")), before - 0.001);
}

TEST(RankOneMoe, answers_an_image_alike_in_any_batch_unless_it_reduces_over_it) {
  const TestZoo zoo = random_zoo(2, 0.3);
  const Merged single = zoo.fuse("rankone_moe{steps=2,batch=4,lr=0.1}");
  expect_close(zoo.logits(single, "task0", 3), zoo.logits(single, "task0"), 2e-5);
  const Merged reduced = zoo.fuse("rankone_moe{steps=2,batch=4,lr=0.1,batch_reduce=true}");
  const at::Tensor apart = zoo.logits(reduced, "task0", 3) - zoo.logits(reduced, "task0");
  EXPECT_GT(apart.abs().max().item<double>(), 1e-4);
}

TEST(RankOneMoe, stores_the_triplets_that_are_there) {
  TestZoo zoo = random_zoo(2, 0.3);
  const std::string unchanged = kMlp + "fc1.weight";
  zoo.experts[1].at(unchanged) = zoo.base.at(unchanged);
  int64_t expected = num_parameters(zoo.base);
  for (const auto& [name, base] : zoo.base) {
    if (is_of_mlp(name) && base.dim() == 2) {
      expected += (name == unchanged ? 1 : 2) * 3 * (base.size(0) + base.size(1));
    }
  }
  const int64_t routers = 2 * (6 * 8 + 6);
  EXPECT_DOUBLE_EQ(zoo.fuse("rankone_moe{steps=0,rank=3}").stored_parameters,
                   static_cast<double>(expected + routers));
}

TEST(RankOneMoe, of_models_without_blocks_is_refused) {
  const TestZoo zoo = random_zoo(2);
  zoo.network->architecture = make_architecture(
      {{"model_type", "mlp"}, {"image_size", 8}, {"hidden_sizes", nlohmann::json::array({2})}});
  EXPECT_THAT(
      [&] { zoo.fuse("rankone_moe"); },
      testing::ThrowsMessage<ConfigError>(testing::HasSubstr("'rankone_moe' needs a stack of blocks")));
}

}  // namespace
}  // namespace fusegrid::rankone_moe_test
