#include "methods/ensemble_checks.h"

namespace fusegrid::simple_ensemble_test {
namespace {

TEST(SimpleEnsemble, equals_fusion_bench) {
  expect_golden("ensemble__simple", "simple_ensemble");
}

TEST(SimpleEnsemble, combines_logits_or_probabilities) {
  const TestZoo zoo = random_zoo(2);
  const at::Tensor a = zoo.logits_of(zoo.experts[0], "task0");
  const at::Tensor b = zoo.logits_of(zoo.experts[1], "task0");
  expect_close(zoo.logits(zoo.fuse("simple_ensemble{level=logits}"), "task0"), (a + b) / 2, 1e-6);
  expect_close(zoo.logits(zoo.fuse("simple_ensemble{level=probabilities}"), "task0").exp(),
               (at::softmax(a, 1) + at::softmax(b, 1)) / 2, 1e-6);
  expect_close(zoo.logits(zoo.fuse("max_model{level=logits}"), "task0"), at::amax(at::stack({a, b}), 0),
               1e-6);
}

TEST(SimpleEnsemble, of_one_member_is_that_model) {
  expect_of_one_member_is_that_model("simple_ensemble");
  expect_of_one_member_is_that_model("simple_ensemble{level=logits}");
  expect_of_one_member_is_that_model("simple_ensemble{level=probabilities}");
}

TEST(SimpleEnsemble, of_copies_is_that_model) {
  expect_of_copies_is_that_model("simple_ensemble");
  expect_of_copies_is_that_model("simple_ensemble{level=logits}");
  expect_of_copies_is_that_model("simple_ensemble{level=probabilities}");
}

TEST(SimpleEnsemble, stores_all_members) {
  expect_stores_all_members("simple_ensemble");
  expect_stores_all_members("simple_ensemble{level=logits}");
  expect_stores_all_members("simple_ensemble{level=probabilities}");
}

}  // namespace
}  // namespace fusegrid::simple_ensemble_test
