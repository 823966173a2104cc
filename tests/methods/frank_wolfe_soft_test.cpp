#include <cmath>

#include "methods/adamerging_checks.h"

namespace fusegrid::frank_wolfe_soft_test {
namespace {

TEST(FrankWolfeSoft, without_steps_is_task_arithmetic) {
  const TestZoo zoo = random_zoo(3);
  const Weights expected = zoo.fuse("task_arithmetic{scale=0.25}").weights;
  expect_close(zoo.fuse("frank_wolfe_soft{steps=0,scale=0.25}").weights, expected, 2e-7);
}

TEST(FrankWolfeSoft, whose_coefficients_start_at_zero_and_are_not_learnt_stays_where_it_starts) {
  const TestZoo zoo = random_zoo(3);
  const Weights expected = zoo.fuse("task_arithmetic{scale=0.3}").weights;
  expect_close(zoo.fuse("frank_wolfe_soft{steps=3,batch=10,adamerging_steps=0}").weights, expected, 2e-7);
}

TEST(FrankWolfeSoft, of_one_chosen_model_whose_coefficient_is_not_learnt_is_the_hard_variant) {
  const TestZoo zoo = random_zoo(3, 0.3);
  for (const std::string coefficients : {"task_wise", "layer_wise"}) {
    const std::string common = "{steps=4,batch=10,step=0.4,coefficients=" + coefficients;
    const Weights soft = zoo.fuse("frank_wolfe_soft" + common + ",chosen=1,adamerging_steps=0}").weights;
    const Weights hard = zoo.fuse("frank_wolfe" + common + "}").weights;
    expect_close(without_key_biases(soft), without_key_biases(hard), 5e-6);
  }
}

// From the base towards all experts: the coefficients of AdaMerging from zero. The start, the base, moves nothing.
TEST(FrankWolfeSoft, of_one_step_from_the_base_to_all_models_is_adamerging_from_zero) {
  const TestZoo zoo = random_zoo(3, 0.3);
  const Weights soft = zoo.fuse(
                              "frank_wolfe_soft{scale=0,steps=1,batch=10,chosen=9,adamerging_steps=1,"
                              "adamerging_batch=20,lr=0.01}")
                           .weights;
  const Weights adapted = zoo.fuse("layer_wise_adamerging{init=0,steps=1,batch=20,lr=0.01}").weights;
  expect_close(without_key_biases(soft), without_key_biases(adapted), 1e-6);
}

// Adam's first step of a tensor's coefficient goes against the slope of the entropy, which finite differences tell too.
// With one expert both models are chosen, it and the start, and the way to the start is none at first.
TEST(FrankWolfeSoft, moves_coefficients_against_their_finite_difference) {
  const TestZoo zoo = random_zoo(1, 0.3);
  const Weights merged = zoo.fuse(
                                "frank_wolfe_soft{steps=1,step=0.2,batch=10,chosen=2,adamerging_steps=1,"
                                "adamerging_batch=20,lr=0.001}")
                             .weights;
  const double before = 0.3 + 0.1 * (1 - 0.3);
  const Weights start = zoo.fuse("task_arithmetic{scale=" + std::to_string(before) + "}").weights;
  int64_t clear = 0;
  for (const auto& [name, tensor] : start) {
    if (!tensor.is_floating_point()) {
      continue;
    }
    const at::Tensor tau = zoo.experts[0].at(name) - zoo.base.at(name);
    const auto entropy_at = [&](double shift) {
      Weights weights = start;
      weights[name] = weights[name] + tau * shift;
      return entropy(zoo, weights);
    };
    const double slope = (entropy_at(0.02) - entropy_at(-0.02)) / 0.04;
    if (std::abs(slope) < 1e-3) {
      continue;
    }
    ++clear;
    const double after = ((merged.at(name) - zoo.base.at(name)) * tau).sum().item<double>() /
                         tau.square().sum().item<double>();
    EXPECT_NEAR(after, before - (slope > 0 ? 0.0007 : -0.0007), 1e-5) << name;
  }
  EXPECT_GT(clear, 10) << "the test needs clear slopes";
}

TEST(FrankWolfeSoft, lowers_the_entropy) {
  const TestZoo zoo = random_zoo(3, 0.3);
  const std::string call = "frank_wolfe_soft{batch=10,adamerging_batch=20,lr=0.01,adamerging_steps=10,steps=";
  EXPECT_LT(entropy(zoo, zoo.fuse(call + "3}").weights), entropy(zoo, zoo.fuse(call + "0}").weights) - 0.001);
}

TEST(FrankWolfeSoft, sees_other_batches_with_another_seed) {
  TestZoo zoo = random_zoo(2);
  const std::string call = "frank_wolfe_soft{steps=2,batch=4,adamerging_batch=4,adamerging_steps=3,lr=0.01}";
  const std::string once = digest(zoo.fuse(call).weights);
  zoo.seed = 1;
  EXPECT_NE(digest(zoo.fuse(call).weights), once);
}

}  // namespace
}  // namespace fusegrid::frank_wolfe_soft_test
