#include "methods/alignment_checks.h"

namespace fusegrid::activation_matching_test {
namespace {

TEST(ActivationMatching, equals_its_definition) {
  expect_equals_golden(perceptrons_of_golden(), "activation_matching", "activation_matching");
}

TEST(ActivationMatching, aligns_permuted_copies) {
  for (const std::string family : {"mlp", "cnn"}) {
    expect_aligns_copies("activation_matching", 3, family);
  }
}

TEST(ActivationMatching, keeps_a_model_that_is_merged_with_itself) {
  expect_keeps_a_model("activation_matching", 3);
}

TEST(ActivationMatching, draws_a_path_between_two_models) {
  expect_draws_a_path("activation_matching");
}

TEST(ActivationMatching, looks_at_as_many_inputs_as_it_is_told) {
  const TestZoo zoo = unit_zoo(2, 3);
  EXPECT_NE(digest(zoo.fuse("activation_matching{examples=4}").weights),
            digest(zoo.fuse("activation_matching{examples=48}").weights));
}

}  // namespace
}  // namespace fusegrid::activation_matching_test
