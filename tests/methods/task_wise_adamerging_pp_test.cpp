#include "methods/adamerging_checks.h"

namespace fusegrid::task_wise_adamerging_pp_test {
namespace {

// On the original's backbone and batches, with task vectors that make_test_time.py trims and elects by sorting.
TEST(TaskWiseAdaMergingPlusPlus, follows_the_trajectory_that_autograd_gives) {
  const Golden golden = read_golden("adamerging_pp__task_wise");
  const Merged merged = golden_backbone(read_golden("adamerging__task_wise"))
                            .fuse("task_wise_adamerging_pp{steps=5,batch=4,lr=0.001,init=0.3}");
  expect_close(merged.weights, golden.under("merged"), 1e-6);
  const at::Tensor last = golden.tensors.at("coefficients/last").mean(1);
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(coefficients(merged).at("task" + std::to_string(i)), last[i].item<double>(), 1e-6);
  }
}

TEST(TaskWiseAdaMergingPlusPlus, without_steps_is_ties) {
  const TestZoo zoo = random_zoo(3);
  expect_close(zoo.fuse("task_wise_adamerging_pp{steps=0,init=0.25,density=0.3}").weights,
               zoo.fuse("ties{scale=0.25,density=0.3}").weights, 2e-7);
}

TEST(TaskWiseAdaMergingPlusPlus, lowers_the_entropy) {
  expect_lowers_the_entropy("task_wise_adamerging_pp");
}

TEST(TaskWiseAdaMergingPlusPlus, of_experts_that_did_not_move_is_the_base) {
  expect_of_experts_that_did_not_move_is_the_base("task_wise_adamerging_pp");
}

}  // namespace
}  // namespace fusegrid::task_wise_adamerging_pp_test
