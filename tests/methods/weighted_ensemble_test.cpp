#include "methods/ensemble_checks.h"

namespace fusegrid::weighted_ensemble_test {
namespace {

TEST(WeightedEnsemble, equals_fusion_bench) {
  expect_golden("ensemble__weighted_normalized", "weighted_ensemble{weights=0.1:0.2:0.3:0.6,normalize=true}");
  expect_golden("ensemble__weighted_raw", "weighted_ensemble{weights=0.1:0.2:0.3:0.6,normalize=false}");
}

TEST(WeightedEnsemble, with_one_weight_is_that_member) {
  const TestZoo zoo = random_zoo(2);
  const at::Tensor answer = zoo.logits(zoo.fuse("weighted_ensemble{weights=0:1,level=logits}"), "task0");
  expect_close(answer, zoo.logits_of(zoo.experts[1], "task0"), 1e-6);
}

TEST(WeightedEnsemble, refuses_weights_of_another_number) {
  EXPECT_THROW(random_zoo(3).fuse("weighted_ensemble{weights=1:2}"), ConfigError);
}

TEST(WeightedEnsemble, of_one_member_is_that_model) {
  expect_of_one_member_is_that_model("weighted_ensemble");
  expect_of_one_member_is_that_model("weighted_ensemble{level=logits}");
  expect_of_one_member_is_that_model("weighted_ensemble{level=probabilities}");
}

TEST(WeightedEnsemble, of_copies_is_that_model) {
  expect_of_copies_is_that_model("weighted_ensemble");
  expect_of_copies_is_that_model("weighted_ensemble{level=logits}");
  expect_of_copies_is_that_model("weighted_ensemble{level=probabilities}");
}

TEST(WeightedEnsemble, stores_all_members) {
  expect_stores_all_members("weighted_ensemble");
  expect_stores_all_members("weighted_ensemble{level=logits}");
  expect_stores_all_members("weighted_ensemble{level=probabilities}");
}

}  // namespace
}  // namespace fusegrid::weighted_ensemble_test
