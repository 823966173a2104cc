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
