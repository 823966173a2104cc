#include "methods/adamerging_checks.h"

namespace fusegrid::task_wise_adamerging_test {
namespace {

TEST(TaskWiseAdaMerging, follows_fusion_benchs_trajectory) {
  const Golden golden = read_golden("adamerging__task_wise");
  const Merged merged =
      golden_backbone(golden).fuse("task_wise_adamerging{steps=5,batch=4,lr=0.001,init=0.3}");
  expect_close(merged.weights, golden.under("merged"), 1e-6);
  const at::Tensor last = golden.tensors.at("coefficients").select(0, 4);
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(coefficients(merged).at("task" + std::to_string(i)), last[i].item<double>(), 1e-6);
  }
}

// Adam's first step is lr against the sign of the gradient, which finite differences of the entropy tell too.
TEST(TaskWiseAdaMerging, moves_each_coefficient_against_its_finite_difference) {
  const TestZoo zoo = random_zoo(3, 0.3);
  const auto merged_at = [&](const std::vector<double>& lambda) {
    Weights weights = zoo.base;
    for (auto& [name, tensor] : weights) {
      if (tensor.is_floating_point()) {
        const at::Tensor base = tensor.clone();
        tensor = base.clone();
        for (size_t i = 0; i < 3; ++i) {
          tensor += (zoo.experts[i].at(name) - base) * lambda[i];
        }
      }
    }
    return weights;
  };
  const auto after = coefficients(zoo.fuse("task_wise_adamerging{steps=1,batch=20,lr=0.001,init=0.3}"));
  for (size_t i = 0; i < 3; ++i) {
    std::vector<double> lambda(3, 0.3);
    lambda[i] += 0.01;
    const double above = entropy(zoo, merged_at(lambda));
    lambda[i] -= 0.02;
    const double slope = (above - entropy(zoo, merged_at(lambda))) / 0.02;
    ASSERT_GT(std::abs(slope), 1e-3) << "the test needs a clear slope";
    EXPECT_NEAR(after.at(zoo.tasks[i]), 0.3 - (slope > 0 ? 0.001 : -0.001), 1e-6) << slope;
  }
}

TEST(TaskWiseAdaMerging, without_steps_is_task_arithmetic) {
  expect_without_steps_is_task_arithmetic("task_wise_adamerging");
}

TEST(TaskWiseAdaMerging, lowers_the_entropy) {
  expect_lowers_the_entropy("task_wise_adamerging");
}

TEST(TaskWiseAdaMerging, clamped_coefficients_outside_the_interval_never_move) {
  expect_clamped_coefficients_outside_the_interval_never_move("task_wise_adamerging");
}

TEST(TaskWiseAdaMerging, of_experts_that_did_not_move_is_the_base) {
  expect_of_experts_that_did_not_move_is_the_base("task_wise_adamerging");
}

TEST(TaskWiseAdaMerging, holds_no_second_copy_of_the_experts) {
  expect_holds_no_second_copy_of_the_experts("task_wise_adamerging");
}

TEST(TaskWiseAdaMerging, sees_other_batches_with_another_seed) {
  expect_sees_other_batches_with_another_seed("task_wise_adamerging");
}

}  // namespace
}  // namespace fusegrid::task_wise_adamerging_test
