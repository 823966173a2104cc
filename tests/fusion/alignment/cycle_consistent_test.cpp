#include "fusion/alignment/cycle_consistent.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/planted_permutations.h"
#include "support/test_zoo.h"

namespace fusegrid::cycle_consistent_test {
namespace {

const std::function<void()> kNoTick = [] {};

std::vector<Alignment> onto_first(const std::vector<Weights>& models, const std::vector<AxisGroup>& groups) {
  return match_in_cycles(models, groups, 100, kNoTick).onto_first;
}

TEST(CycleConsistent, finds_planted_permutations_of_several_copies) {
  for (const std::string family : {"mlp", "cnn"}) {
    const TestZoo zoo = unit_zoo(1, 1, family);
    const auto groups = zoo.network->architecture->axis_groups();
    std::vector<Weights> copies{zoo.experts[0]};
    std::vector<Alignment> orders{unmoved(groups)};
    for (uint64_t key = 1; key < 3; ++key) {
      orders.push_back(random_alignment(groups, key));
      copies.push_back(permuted(zoo.experts[0], groups, orders.back()));
    }
    const auto found = onto_first(copies, groups);
    for (size_t i = 0; i < copies.size(); ++i) {
      EXPECT_EQ(found[i], inverse_of(orders[i])) << family << " " << i;
    }
  }
}

TEST(CycleConsistent, of_one_model_several_times_leaves_it_as_it_is) {
  const TestZoo zoo = unit_zoo(1);
  const auto groups = zoo.network->architecture->axis_groups();
  for (const Alignment& alignment : onto_first({zoo.experts[0], zoo.experts[0], zoo.experts[0]}, groups)) {
    EXPECT_EQ(alignment, unmoved(groups));
  }
}

// From model i to j: first onto the common order, then from it. Seen from each model, the way is the same.
TEST(CycleConsistent, leads_back_to_every_unit_whichever_model_is_first) {
  const TestZoo zoo = unit_zoo(3, 2);
  const auto groups = zoo.network->architecture->axis_groups();
  const std::vector<Weights> models{zoo.experts[0], zoo.experts[1], zoo.experts[2]};
  const auto seen_from_0 = onto_first(models, groups);
  const auto seen_from_1 = onto_first({models[1], models[2], models[0]}, groups);
  for (const AxisGroup& group : groups) {
    const auto between = [&](const std::vector<Alignment>& seen, size_t from, size_t to) {
      return composed(seen[from].at(group.name), inverse_of(seen[to].at(group.name)));
    };
    EXPECT_EQ(seen_from_0[0].at(group.name), unmoved(group.size));
    EXPECT_EQ(between(seen_from_0, 2, 1), between(seen_from_1, 1, 0));
    const Permutation circle = composed(composed(between(seen_from_0, 0, 1), between(seen_from_0, 1, 2)),
                                        between(seen_from_0, 2, 0));
    EXPECT_EQ(circle, unmoved(group.size));
  }
}

}  // namespace
}  // namespace fusegrid::cycle_consistent_test
