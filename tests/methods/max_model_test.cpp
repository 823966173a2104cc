#include "methods/ensemble_checks.h"

namespace fusegrid::max_model_test {
namespace {

TEST(MaxModel, equals_fusion_bench) {
  expect_golden("ensemble__max", "max_model");
}

TEST(MaxModel, of_one_member_is_that_model) {
  expect_of_one_member_is_that_model("max_model");
  expect_of_one_member_is_that_model("max_model{level=logits}");
}

TEST(MaxModel, of_copies_is_that_model) {
  expect_of_copies_is_that_model("max_model");
  expect_of_copies_is_that_model("max_model{level=logits}");
}

TEST(MaxModel, stores_all_members) {
  expect_stores_all_members("max_model");
  expect_stores_all_members("max_model{level=logits}");
}

}  // namespace
}  // namespace fusegrid::max_model_test
