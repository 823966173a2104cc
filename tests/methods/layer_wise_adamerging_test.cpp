#include "methods/adamerging_checks.h"

namespace fusegrid::layer_wise_adamerging_test {
namespace {

TEST(LayerWiseAdaMerging, follows_fusion_benchs_trajectory) {
  const Golden golden = read_golden("adamerging__layer_wise");
  const Merged merged =
      golden_backbone(golden).fuse("layer_wise_adamerging{steps=5,batch=4,lr=0.001,init=0.3}");
  expect_close(merged.weights, golden.under("merged"), 1e-6);
  const at::Tensor last = golden.tensors.at("coefficients").select(0, 4).mean(1);
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(coefficients(merged).at("task" + std::to_string(i)), last[i].item<double>(), 1e-6);
  }
}

TEST(LayerWiseAdaMerging, without_steps_is_task_arithmetic) {
  expect_without_steps_is_task_arithmetic("layer_wise_adamerging");
}

TEST(LayerWiseAdaMerging, lowers_the_entropy) {
  expect_lowers_the_entropy("layer_wise_adamerging");
}

TEST(LayerWiseAdaMerging, clamped_coefficients_outside_the_interval_never_move) {
  expect_clamped_coefficients_outside_the_interval_never_move("layer_wise_adamerging");
}

TEST(LayerWiseAdaMerging, of_experts_that_did_not_move_is_the_base) {
  expect_of_experts_that_did_not_move_is_the_base("layer_wise_adamerging");
}

TEST(LayerWiseAdaMerging, holds_no_second_copy_of_the_experts) {
  expect_holds_no_second_copy_of_the_experts("layer_wise_adamerging");
}

TEST(LayerWiseAdaMerging, sees_other_batches_with_another_seed) {
  expect_sees_other_batches_with_another_seed("layer_wise_adamerging");
}

}  // namespace
}  // namespace fusegrid::layer_wise_adamerging_test
