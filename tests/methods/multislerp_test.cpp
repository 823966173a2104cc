#include <gtest/gtest.h>

#include "core/errors.h"
#include "support/golden.h"
#include "support/line_zoo.h"
#include "support/test_zoo.h"

namespace fusegrid::multislerp_test {
namespace {

TEST(Multislerp, equals_mergekit) {
  const TestZoo zoo = golden_zoo();
  expect_golden(zoo, "multislerp{weights=0.5:0.3:0.2:0.4,around=zero,normalize=false}",
                "multislerp__mergekit_raw", 1.2e-7);
  expect_golden(zoo, "multislerp{weights=0.5:0.3:0.2:0.4}", "multislerp__mergekit_default", 1.2e-7);
}

// mergekit raises an error for the tensor that nobody changed.
TEST(Multislerp, leaves_a_tensor_that_no_expert_changed) {
  const TestZoo zoo = golden_zoo();
  const std::string name = "vision_model.post_layernorm.bias";
  EXPECT_TRUE(zoo.fuse("multislerp").weights.at(name).equal(zoo.base.at(name)));
}

TEST(Multislerp, of_two_equal_weights_is_the_middle_of_the_arc) {
  const TestZoo equal_length = line_zoo({{3, 0, 4}, {0, 5, 0}});
  expect_close(merged_task_vector(equal_length, "multislerp"), merged_task_vector(equal_length, "nuslerp"),
               1e-6);
  EXPECT_NEAR(merged_task_vector(equal_length, "multislerp").norm().item<double>(), 5, 1e-6);
}

TEST(Multislerp, of_opposite_task_vectors_is_their_weighted_mean) {
  const TestZoo zoo = line_zoo({{1, 2}, {-1, -2}});
  expect_line(merged_task_vector(zoo, "multislerp"), {0, 0});
}

TEST(Multislerp, of_one_expert_is_the_expert) {
  const TestZoo zoo = random_zoo(1);
  EXPECT_EQ(digest(zoo.fuse("multislerp").weights), digest(zoo.experts[0]));
}

TEST(Multislerp, refuses_weights_of_another_number_of_experts) {
  EXPECT_THROW(random_zoo(2).fuse("multislerp{weights=1:2:3}"), ConfigError);
}

TEST(Multislerp, adds_eps_to_the_lengths_that_it_divides_by) {
  const TestZoo zoo = random_zoo(2);
  EXPECT_EQ(digest(zoo.fuse("multislerp{eps=0.00000001}").weights), digest(zoo.fuse("multislerp").weights));
  EXPECT_NE(digest(zoo.fuse("multislerp{eps=0.01}").weights), digest(zoo.fuse("multislerp").weights));
}

}  // namespace
}  // namespace fusegrid::multislerp_test
