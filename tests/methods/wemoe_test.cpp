#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/errors.h"
#include "fusion/fusion_input.h"
#include "fusion/whole_model/routed_mlp.h"
#include "methods/routed_checks.h"
#include "models/readout.h"
#include "support/golden.h"
#include "support/small_models.h"
#include "support/test_zoo.h"

namespace fusegrid::wemoe_test {
namespace {

const std::string kMlp = "vision_model.encoder.layers.0.mlp.";

Weights mlp_of(const Weights& model) {
  Weights mlp;
  for (const auto& [name, tensor] : model) {
    if (name.starts_with(kMlp)) {
      mlp.emplace(name, tensor.to(at::kDouble));
    }
  }
  return mlp;
}

// Layers of the original's router, as leaves: {weight, bias} in order; layers=0 keeps its gates in "weight".
std::vector<RouterLayer> router_of(const Golden& golden, int layers) {
  const Weights router = golden.under("router");
  const auto leaf = [&](const std::string& name) { return router.at(name).clone().requires_grad_(true); };
  switch (layers) {
    case 0:
      return {{{}, leaf("weight")}};
    case 1:
      return {{leaf("fc.weight"), leaf("fc.bias")}};
    default:
      return {{leaf("fc1.weight"), leaf("fc1.bias")}, {leaf("fc2.weight"), leaf("fc2.bias")}};
  }
}

class RoutedMlp : public testing::TestWithParam<std::string> {};

// In float64 on the golden zoo's MLP: outputs and the routers' gradients.
TEST_P(RoutedMlp, equals_fusion_bench) {
  const Golden golden = read_golden("wemoe__" + GetParam());
  const TestZoo zoo = golden_zoo();
  const int layers = GetParam()[6] - '0';
  const bool batch_reduce = GetParam().ends_with("batch");
  const Weights base = mlp_of(zoo.base);
  std::vector<Weights> taus;
  for (const Weights& expert : zoo.experts) {
    taus.push_back(mlp_of(expert));
    for (auto& [name, tensor] : taus.back()) {
      tensor = tensor - base.at(name);
    }
  }
  const at::Tensor hidden = golden.tensors.at("hidden_states");
  const auto router = router_of(golden, layers);

  const at::AutoGradMode with_gradients(true);
  const at::Tensor gates = router_gates(router, hidden, {.batch_reduce = batch_reduce});
  const at::Tensor output = routed_mlp(*zoo.network->architecture->blocks(), 0, base, taus, gates, hidden);
  (output * golden.tensors.at("probe")).sum().backward();

  expect_close(output.detach(), golden.tensors.at("output"), 1e-13);
  const Weights gradients = golden.under("router_gradient");
  if (layers == 0) {
    expect_close(router[0].bias.grad(), gradients.at("weight"), 1e-13);
    return;
  }
  for (int layer = 0; layer < layers; ++layer) {
    const std::string name = layers == 1 ? "fc" : "fc" + std::to_string(layer + 1);
    const RouterLayer& tensors = router[static_cast<size_t>(layer)];
    expect_close(tensors.weight.grad(), gradients.at(name + ".weight"), 1e-13);
    expect_close(tensors.bias.grad(), gradients.at(name + ".bias"), 1e-13);
  }
}

INSTANTIATE_TEST_SUITE_P(Wemoe, RoutedMlp,
                         testing::Values("router0_batch", "router1_batch", "router1_sample", "router2_batch",
                                         "router2_sample"));

TEST(RouterGates, reduced_over_the_batch_are_the_mean_of_the_images_gates) {
  const Golden golden = read_golden("wemoe__router2_sample");
  const auto router = router_of(golden, 2);
  const at::Tensor hidden = golden.tensors.at("hidden_states");
  const at::Tensor single = router_gates(router, hidden, {}).detach();
  expect_close(single.squeeze(1), golden.tensors.at("coefficients"), 1e-13);
  expect_close(router_gates(router, hidden, {.batch_reduce = true}).detach(),
               single.mean(0, true).expand_as(single), 1e-14);
}

TEST(RouterGates, do_not_see_what_fills_rows_of_tokens_up) {
  const Golden golden = read_golden("wemoe__router2_sample");
  const auto router = router_of(golden, 2);
  const at::Tensor hidden = golden.tensors.at("hidden_states");  // [n, tokens, width]
  const int64_t shorter = hidden.size(1) - 2;
  const at::Tensor lengths = at::full({hidden.size(0)}, shorter, at::kLong);
  const at::Tensor gates = router_gates(router, hidden, {.lengths = lengths}).detach();
  expect_close(gates, router_gates(router, hidden.narrow(1, 0, shorter), {}).detach(), 1e-14);
}

TEST(RouterGates, of_causal_models_are_those_of_the_row_cut_behind_the_token) {
  const Golden golden = read_golden("wemoe__router2_sample");
  const auto router = router_of(golden, 2);
  const at::Tensor hidden = golden.tensors.at("hidden_states");
  const at::Tensor gates = router_gates(router, hidden, {.causal = true}).detach();
  ASSERT_EQ(gates.size(1), hidden.size(1));
  for (int64_t token = 0; token < hidden.size(1); ++token) {
    const at::Tensor cut = router_gates(router, hidden.narrow(1, 0, token + 1), {}).detach();
    expect_close(gates.narrow(1, token, 1), cut, 1e-14);
  }
}

TEST(RouterGates, of_causal_models_reduced_over_the_batch_leave_out_what_fills_rows_up) {
  const Golden golden = read_golden("wemoe__router2_sample");
  const auto router = router_of(golden, 2);
  const at::Tensor hidden = golden.tensors.at("hidden_states");
  const int64_t width = hidden.size(1);
  at::Tensor lengths = at::full({hidden.size(0)}, width, at::kLong);
  lengths[0] = 1;
  const at::Tensor single = router_gates(router, hidden, {.causal = true}).detach();
  const at::Tensor reduced =
      router_gates(router, hidden, {.lengths = lengths, .causal = true, .batch_reduce = true}).detach();
  expect_close(reduced.select(1, 0), single.select(1, 0).mean(0, true).expand_as(single.select(1, 0)), 1e-14);
  const at::Tensor others = single.narrow(0, 1, single.size(0) - 1).select(1, width - 1);
  expect_close(reduced.select(1, width - 1)[1], others.mean(0), 1e-14);
}

TEST(Wemoe, with_constant_gates_and_no_steps_is_task_arithmetic) {
  const TestZoo zoo = random_zoo(3);
  const Merged merged = zoo.fuse("wemoe{layers=0,steps=0,scale=0.3}");
  const Weights arithmetic = zoo.fuse("task_arithmetic{scale=0.3}").weights;
  for (const std::string& task : zoo.tasks) {
    expect_close(zoo.logits(merged, task), zoo.logits_of(arithmetic, task), 2e-5);
  }
}

// With weights of 0.01 in the routers the gates start near `scale`, and the routed model near task
// arithmetic.
TEST(Wemoe, without_steps_starts_near_task_arithmetic) {
  const TestZoo zoo = random_zoo(2, 0.02);
  const Weights arithmetic = zoo.fuse("task_arithmetic{scale=0.3}").weights;
  for (const std::string layers : {"1", "2"}) {
    const Merged merged = zoo.fuse("wemoe{steps=0,scale=0.3,layers=" + layers + "}");
    expect_close(zoo.logits(merged, "task0"), zoo.logits_of(arithmetic, "task0"), 0.05);
  }
}

TEST(Wemoe, answers_an_image_alike_in_any_batch_unless_it_reduces_over_it) {
  const TestZoo zoo = random_zoo(2, 0.3);
  const Merged single = zoo.fuse("wemoe{steps=2,batch=4,lr=0.1}");
  expect_close(zoo.logits(single, "task0", 3), zoo.logits(single, "task0"), 2e-5);
  const Merged reduced = zoo.fuse("wemoe{steps=2,batch=4,lr=0.1,batch_reduce=true}");
  const at::Tensor apart = zoo.logits(reduced, "task0", 3) - zoo.logits(reduced, "task0");
  EXPECT_GT(apart.abs().max().item<double>(), 1e-4);
}

TEST(Wemoe, training_lowers_the_entropy) {
  const TestZoo zoo = random_zoo(2, 0.3);
  const double before = entropy(zoo, zoo.fuse("wemoe{steps=0}"));
  EXPECT_LT(entropy(zoo, zoo.fuse("wemoe{steps=20,batch=20,lr=0.01}")), before - 0.001);
}

TEST(Wemoe, of_a_causal_model_answers_alike_whatever_follows) {
  TestZoo zoo;
  zoo.network = std::make_shared<Network>();
  zoo.network->architecture = make_architecture({{"model_type", "gpt2"},
                                                 {"n_embd", 8},
                                                 {"n_layer", 2},
                                                 {"n_head", 2},
                                                 {"vocab_size", 11},
                                                 {"n_positions", 12}});
  const Architecture& architecture = *zoo.network->architecture;
  zoo.network->readouts["task0"] = own_readout(architecture.own_head().value(), 8, 11);
  zoo.tasks = {"task0"};
  zoo.base = random_weights(architecture, at::kFloat);
  zoo.experts.push_back(zoo.base);
  for (auto& [name, tensor] : zoo.experts.front()) {
    tensor = tensor * 2;
  }
  Inputs inputs = random_tokens({5, 2, 7}, 11);
  zoo.data.set("task0", "test", {inputs});
  const Merged merged = zoo.fuse("wemoe{steps=0,layers=2}");
  const auto logits = [&] { return merged.model->predictor->output(*zoo.network, inputs, {"task0", {}}); };

  inputs.answer = random_tokens({4, 4, 4}, 11).tokens;
  inputs.answer_lengths = at::full({3}, 4, at::kLong);
  const at::Tensor before = logits();
  inputs.answer.select(1, 2).fill_(1);
  const at::Tensor after = logits();

  EXPECT_TRUE(after.narrow(1, 0, 3).equal(before.narrow(1, 0, 3)));
  EXPECT_FALSE(after.narrow(1, 3, 2).equal(before.narrow(1, 3, 2)));
}

TEST(Wemoe, holds_and_stores_base_task_vectors_and_routers_once) {
  const TestZoo zoo = random_zoo(2);
  const Merged merged = zoo.fuse("wemoe{steps=0,layers=1}");
  int64_t mlps = 0;
  for (const auto& [name, tensor] : zoo.base) {
    mlps += name.find(".mlp.") == std::string::npos ? 0 : tensor.numel();
  }
  const int64_t routers = 2 * (2 * 8 + 2);
  EXPECT_DOUBLE_EQ(merged.stored_parameters,
                   static_cast<double>(num_parameters(zoo.base) + 2 * mlps + routers));
  EXPECT_FALSE(merged.weights.at("router0.0.weight").requires_grad());
}

TEST(Wemoe, shares_its_routers_with_what_is_held_in_another_precision) {
  const Merged merged = random_zoo(2).fuse("wemoe{steps=0,layers=1}");
  const Weights held = merged.model->predictor->held_in(Precision::kBf16)->weights();
  for (const auto& [name, tensor] : merged.weights) {
    if (name.starts_with("router")) {
      EXPECT_EQ(held.at(name).data_ptr(), tensor.data_ptr()) << name;
    } else if (tensor.is_floating_point()) {
      EXPECT_EQ(held.at(name).scalar_type(), at::kBFloat16) << name;
    }
  }
}

TEST(Wemoe, of_models_without_blocks_is_refused) {
  const TestZoo zoo = random_zoo(2);
  zoo.network->architecture = make_architecture(
      {{"model_type", "mlp"}, {"image_size", 8}, {"hidden_sizes", nlohmann::json::array({2})}});
  EXPECT_THAT([&] { zoo.fuse("wemoe"); },
              testing::ThrowsMessage<ConfigError>(testing::HasSubstr("'wemoe' needs a stack of blocks")));
}

}  // namespace
}  // namespace fusegrid::wemoe_test
