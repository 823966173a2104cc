#include "methods/adamerging_checks.h"

namespace fusegrid::gossip_test {
namespace {

TEST(Gossip, of_one_round_without_steps_is_the_average) {
  for (const size_t experts : {1, 2, 3, 5}) {
    const TestZoo zoo = random_zoo(experts);
    expect_close(zoo.fuse("gossip{rounds=1,steps=0,init=1}").weights, zoo.fuse("simple_average").weights,
                 5e-7);
  }
}

TEST(Gossip, without_rounds_is_the_average) {
  const TestZoo zoo = random_zoo(4);
  expect_close(zoo.fuse("gossip{rounds=0}").weights, zoo.fuse("simple_average").weights, 5e-7);
}

TEST(Gossip, without_steps_shrinks_the_average_by_the_sum_of_its_coefficients_in_each_round) {
  const TestZoo zoo = random_zoo(5);
  const Weights expected = zoo.fuse("task_arithmetic{scale=0.162}").weights;  // 0.9^2 / 5
  expect_close(zoo.fuse("gossip{rounds=2,steps=0}").weights, expected, 5e-7);
}

// On a ring of one the node merges with itself alone.
TEST(Gossip, of_one_expert_in_one_round_is_adamerging) {
  const TestZoo zoo = random_zoo(1, 0.3);
  for (const std::string granularity : {"task_wise", "layer_wise"}) {
    const Merged alone =
        zoo.fuse("gossip{rounds=1,steps=1,batch=20,init=0.3,lr=0.01,coefficients=" + granularity + "}");
    const Merged adapted = zoo.fuse(granularity + "_adamerging{steps=1,batch=20,init=0.3,lr=0.01}");
    expect_close(without_key_biases(alone.weights), without_key_biases(adapted.weights), 1e-6);
  }
}

// Adam's first step of the coefficients goes against the slope of the entropy of what the node knows, which finite
// differences tell too. On a ring of two both nodes merge the same models, with the inputs of both from the start.
TEST(Gossip, moves_coefficients_against_their_finite_difference) {
  const TestZoo zoo = random_zoo(2, 0.3);
  const auto entropy_at = [&](double first, double second) {
    Weights weights = zoo.base;
    for (auto& [name, tensor] : weights) {
      if (tensor.is_floating_point()) {
        tensor = tensor + (zoo.experts[0].at(name) - zoo.base.at(name)) * first +
                 (zoo.experts[1].at(name) - zoo.base.at(name)) * second;
      }
    }
    return entropy(zoo, weights);
  };
  const auto learnt =
      coefficients(zoo.fuse("gossip{rounds=1,steps=1,batch=20,init=0.6,lr=0.001,coefficients=task_wise}"));
  const double first = (entropy_at(0.31, 0.3) - entropy_at(0.29, 0.3)) / 0.02;
  const double second = (entropy_at(0.3, 0.31) - entropy_at(0.3, 0.29)) / 0.02;
  ASSERT_GT(std::min(std::abs(first), std::abs(second)), 1e-3) << "the test needs clear slopes";
  EXPECT_NEAR(learnt.at("task0"), 0.3 - (first > 0 ? 0.001 : -0.001), 1e-6);
  EXPECT_NEAR(learnt.at("task1"), 0.3 - (second > 0 ? 0.001 : -0.001), 1e-6);
}

// The second round's coefficients are of merges: dL/dlambda_m = <dL/dtheta, theta_m - theta_0>, theta_m not an expert.
TEST(Gossip, moves_coefficients_of_merges_against_their_finite_difference) {
  const TestZoo zoo = random_zoo(2, 0.3);
  const std::string call = "gossip{rounds=2,steps=1,batch=20,init=0.6,coefficients=task_wise,lr=";
  const auto held =
      coefficients(zoo.fuse("gossip{rounds=1,steps=1,batch=20,init=0.6,coefficients=task_wise,lr=0.001}"));
  const auto after = coefficients(zoo.fuse(call + "0.001}"));
  const auto entropy_at = [&](double sum) {  // both nodes hold the same merge: both have its coefficient
    Weights weights = zoo.base;
    for (auto& [name, tensor] : weights) {
      if (tensor.is_floating_point()) {
        for (size_t i = 0; i < 2; ++i) {
          const double lambda = sum * held.at("task" + std::to_string(i));
          tensor = tensor + (zoo.experts[i].at(name) - zoo.base.at(name)) * lambda;
        }
      }
    }
    return entropy(zoo, weights);
  };
  const double slope = (entropy_at(0.62) - entropy_at(0.58)) / 0.04;
  ASSERT_GT(std::abs(slope), 1e-3) << "the test needs a clear slope";
  const double sum = 0.6 - (slope > 0 ? 0.002 : -0.002);
  EXPECT_NEAR(after.at("task0"), sum * held.at("task0"), 1e-6);
  EXPECT_NEAR(after.at("task1"), sum * held.at("task1"), 1e-6);
}

TEST(Gossip, tells_nodes_the_inputs_of_others_only_where_data_spread) {
  const TestZoo zoo = random_zoo(4, 0.3);
  const std::string common = "{rounds=1,steps=2,batch=4,lr=0.01,data=";
  EXPECT_NE(digest(zoo.fuse("gossip" + common + "own}").weights),
            digest(zoo.fuse("gossip" + common + "spreading}").weights));
}

TEST(Gossip, of_four_experts_does_not_mind_their_order) {
  const TestZoo zoo = random_zoo(4, 0.3);
  TestZoo other = zoo;
  std::swap(other.tasks[1], other.tasks[2]);
  std::swap(other.experts[1], other.experts[2]);
  const std::string call = "gossip{rounds=2,steps=2,batch=4,lr=0.01}";
  expect_close(without_key_biases(zoo.fuse(call).weights), without_key_biases(other.fuse(call).weights),
               1e-5);
}

TEST(Gossip, lowers_the_entropy) {
  const TestZoo zoo = random_zoo(3, 0.3);
  const std::string call = "gossip{rounds=2,batch=20,lr=0.01,init=1,steps=";
  EXPECT_LT(entropy(zoo, zoo.fuse(call + "10}").weights),
            entropy(zoo, zoo.fuse(call + "0}").weights) - 0.001);
}

TEST(Gossip, holds_no_second_copy_of_the_experts) {
  const TestZoo zoo = wide_zoo(6);
  const int64_t peak = peak_tensor_bytes([&] { zoo.fuse("gossip{rounds=1,steps=2,batch=4}"); });
  EXPECT_GT(peak, kWideModelBytes);
  EXPECT_LT(peak, 5 * kWideModelBytes);
}

}  // namespace
}  // namespace fusegrid::gossip_test
