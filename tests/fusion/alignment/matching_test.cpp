#include "fusion/alignment/matching.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/planted_permutations.h"
#include "support/test_zoo.h"

namespace fusegrid::matching_test {
namespace {

const std::function<void()> kNoTick = [] {};

double product(const Weights& a, const Weights& b) {
  double sum = 0;
  for (const auto& [name, tensor] : a) {
    sum += (tensor.to(at::kDouble) * b.at(name).to(at::kDouble)).sum().item<double>();
  }
  return sum;
}

class Matchings : public testing::TestWithParam<std::string> {};

TEST_P(Matchings, find_a_planted_permutation) {
  for (uint64_t key = 0; key < 10; ++key) {
    const TestZoo zoo = unit_zoo(1, 1, GetParam());
    const auto groups = zoo.network->architecture->axis_groups();
    const Alignment order = random_alignment(groups, key);
    const Weights moved = permuted(zoo.experts[0], groups, order);
    for (const auto& scores : {weight_products(zoo.experts[0], moved, groups),
                               weight_correlations(zoo.experts[0], moved, groups)}) {
      const Matching found = match(groups, scores, unmoved(groups), kNoTick);
      EXPECT_EQ(found.alignment, inverse_of(order)) << key;
      expect_close(permuted(moved, groups, found.alignment), zoo.experts[0], 0);
    }
  }
}

TEST_P(Matchings, of_a_model_with_itself_leave_it_as_it_is) {
  TestZoo zoo = unit_zoo(1, 1, GetParam());
  const auto groups = zoo.network->architecture->axis_groups();
  for (auto& [name, tensor] : zoo.experts[0]) {  // two dead units
    tensor = tensor.clone();
    if (name.starts_with("layers.0")) {
      tensor.narrow(0, 1, 2).zero_();
    }
  }
  const auto scores = weight_products(zoo.experts[0], zoo.experts[0], groups);
  const Matching found = match(groups, scores, unmoved(groups), kNoTick);
  EXPECT_EQ(found.alignment, unmoved(groups));
  EXPECT_EQ(found.sweeps, 1);
}

TEST_P(Matchings, bring_independent_models_closer) {
  const TestZoo zoo = unit_zoo(2, 3, GetParam());
  const auto groups = zoo.network->architecture->axis_groups();
  const Matching found =
      match(groups, weight_products(zoo.experts[0], zoo.experts[1], groups), unmoved(groups), kNoTick);
  const Weights moved = permuted(zoo.experts[1], groups, found.alignment);
  EXPECT_GT(product(zoo.experts[0], moved), product(zoo.experts[0], zoo.experts[1]) + 0.5);
  EXPECT_GE(found.sweeps, 2);
  // and no exchange of two units of one group brings them closer still
  for (const AxisGroup& group : groups) {
    for (int64_t i = 0; i < group.size; ++i) {
      for (int64_t j = 0; j < i; ++j) {
        Alignment exchanged = found.alignment;
        std::swap(exchanged[group.name][static_cast<size_t>(i)],
                  exchanged[group.name][static_cast<size_t>(j)]);
        EXPECT_LE(product(zoo.experts[0], permuted(zoo.experts[1], groups, exchanged)),
                  product(zoo.experts[0], moved) + 1e-6);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Matchings, testing::Values("mlp", "cnn"),
                         [](const auto& family) { return family.param; });

// Groups of a transformer's tower: heads of attention as units, and the units of its MLPs.
std::vector<AxisGroup> groups_of_tower(int64_t blocks, int64_t heads, int64_t size, int64_t inner) {
  std::vector<AxisGroup> groups;
  for (int64_t block = 0; block < blocks; ++block) {
    const std::string prefix = "vision_model.encoder.layers." + std::to_string(block) + ".";
    AxisGroup attention{.name = prefix + "heads", .size = heads, .unit = size, .axes = {}};
    for (const std::string part : {"q_proj", "k_proj", "v_proj"}) {
      attention.axes.push_back({prefix + "self_attn." + part + ".weight", 0, true});
      attention.axes.push_back({prefix + "self_attn." + part + ".bias", 0, true});
    }
    attention.axes.push_back({prefix + "self_attn.out_proj.weight", 1, false});
    groups.push_back(attention);
    groups.push_back({.name = prefix + "mlp",
                      .size = inner,
                      .axes = {{prefix + "mlp.fc1.weight", 0, true},
                               {prefix + "mlp.fc1.bias", 0, true},
                               {prefix + "mlp.fc2.weight", 1, false}}});
  }
  return groups;
}

TEST(Matching, finds_planted_orders_of_heads_of_attention) {
  const TestZoo zoo = random_zoo(1);
  const auto groups = groups_of_tower(2, 2, 4, 16);
  Alignment order = random_alignment(groups, 4);
  order.at(groups[0].name) = {1, 0};
  const Weights moved = permuted(zoo.experts[0], groups, order);
  EXPECT_NE(digest(moved), digest(zoo.experts[0]));
  expect_close(zoo.logits_of(moved, "task0"), zoo.logits_of(zoo.experts[0], "task0"), 1e-5);
  const Matching found =
      match(groups, weight_products(zoo.experts[0], moved, groups), unmoved(groups), kNoTick);
  EXPECT_EQ(found.alignment, inverse_of(order));
  // entries of different heads that change places are another function
  std::vector<AxisGroup> torn = groups;
  torn[0].size = 8;
  torn[0].unit = 1;
  const Weights mixed = permuted(zoo.experts[0], torn, {{torn[0].name, {0, 4, 2, 3, 1, 5, 6, 7}}});
  EXPECT_GT(
      (zoo.logits_of(mixed, "task0") - zoo.logits_of(zoo.experts[0], "task0")).abs().max().item<double>(),
      1e-3);
}

TEST(Matching, takes_no_running_statistics_for_weights) {
  const std::vector<AxisGroup> groups{
      {.name = "units", .size = 2, .axes = {{"norm.weight", 0, true}, {"norm.running_mean", 0, true}}}};
  const at::Tensor up = at::tensor({1.0, 2.0});
  const Weights first{{"norm.weight", up}, {"norm.running_mean", up * 100}};
  const Weights second{{"norm.weight", up}, {"norm.running_mean", up.flip({0}) * 100}};
  EXPECT_EQ(match(groups, weight_products(first, second, groups), unmoved(groups), kNoTick).alignment,
            unmoved(groups));
}

// Scores that always prefer another order go in circles.
TEST(Matching, ends_where_scores_lead_in_circles) {
  const std::vector<AxisGroup> groups{{.name = "units", .size = 2, .axes = {}}};
  const UnitScores contrary = [](const AxisGroup&, const Alignment& current) {
    const bool unmoved_now = current.at("units")[0] == 0;
    at::Tensor scores = at::zeros({2, 2}, at::kDouble);
    (unmoved_now ? scores.fill_diagonal_(-1) : scores.fill_diagonal_(2)).add_(1);
    return scores;
  };
  int visits = 0;
  match(
      groups, contrary, unmoved(groups), [&] { ++visits; }, 5);
  EXPECT_GE(visits, 6);
  EXPECT_LE(visits, 8);
}

}  // namespace
}  // namespace fusegrid::matching_test
