#include "fusion/alignment/permutation.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/matmul.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/planted_permutations.h"
#include "support/small_models.h"
#include "support/test_zoo.h"

namespace fusegrid::permutation_test {
namespace {

TEST(Permutation, is_undone_by_its_inverse) {
  const Permutation some = permutation(5, 0, 9);
  EXPECT_NE(some, unmoved(9));
  EXPECT_EQ(composed(some, inverse_of(some)), unmoved(9));
  EXPECT_EQ(composed(inverse_of(some), some), unmoved(9));
}

TEST(Permutation, composes_as_its_matrices_do) {
  const Permutation first = permutation(5, 0, 6);
  const Permutation then = permutation(5, 1, 6);
  expect_close(matrix_of(composed(first, then), at::kCPU),
               at::matmul(matrix_of(then, at::kCPU), matrix_of(first, at::kCPU)), 0);
}

TEST(Permutation, says_which_unit_comes_to_each_place) {
  const std::vector<AxisOfGroup> axes{{0, true, "units", 3}};
  const at::Tensor moved = permuted(at::arange(3).mul(10), axes, {{"units", {2, 0, 1}}});
  EXPECT_TRUE(moved.equal(at::arange(3).mul(10).index_select(0, at::tensor({2, 0, 1}, at::kLong))));
}

TEST(Permutation, keeps_the_entries_of_a_unit_together) {
  const std::vector<AxisOfGroup> axes{{1, false, "heads", 2}};
  const at::Tensor moved = permuted(at::arange(6).view({1, 6}), axes, {{"heads", {1, 0}}});
  EXPECT_TRUE(moved.equal(at::tensor({3, 4, 5, 0, 1, 2}, at::kLong).view({1, 6})));
}

TEST(Permutation, counts_the_units_that_moved) {
  EXPECT_EQ(moved_units({{{"a", {0, 1}}, {"b", {1, 0}}}}), 0.5);
  EXPECT_EQ(moved_units({}), 0);
}

class PermutedModel : public testing::TestWithParam<std::string> {};

TEST_P(PermutedModel, computes_the_same_in_another_order) {
  const TestZoo zoo = unit_zoo(1, 1, GetParam());
  const Architecture& architecture = *zoo.network->architecture;
  const std::vector<AxisGroup> groups = architecture.axis_groups();
  ASSERT_EQ(groups.size(), 2U);
  const Alignment order = random_alignment(groups, 3);
  const Weights model = random_weights(architecture);  // float64
  const Weights moved = permuted(model, groups, order);
  const Inputs inputs = random_images(5, 8);
  const at::Tensor before = architecture.features(model, inputs, Pooling::kMean);
  const at::Tensor after = architecture.features(moved, inputs, Pooling::kMean);
  EXPECT_GT(max_error(after, before), 1e-3);
  const Permutation& of_features = order.at(groups.back().name);
  expect_close(after, before.index_select(1, at::tensor(of_features, at::kLong)), 1e-12);
  expect_close(permuted(moved, groups, inverse_of(order)), model, 0);
}

INSTANTIATE_TEST_SUITE_P(Families, PermutedModel, testing::Values("mlp", "cnn"),
                         [](const auto& family) { return family.param; });

}  // namespace
}  // namespace fusegrid::permutation_test
