#include "methods/alignment_checks.h"

namespace fusegrid::weight_matching_test {
namespace {

TEST(WeightMatching, equals_its_definition) {
  expect_equals_golden(perceptrons_of_golden(), "weight_matching", "weight_matching");
}

TEST(WeightMatching, aligns_permuted_copies) {
  for (const std::string family : {"mlp", "cnn"}) {
    expect_aligns_copies("weight_matching", 2, family);
    expect_aligns_copies("weight_matching", 4, family);
  }
}

TEST(WeightMatching, keeps_a_model_that_is_merged_with_itself) {
  expect_keeps_a_model("weight_matching", 3);
}

TEST(WeightMatching, draws_a_path_between_two_models) {
  expect_draws_a_path("weight_matching");
}

TEST(WeightMatching, tells_how_far_it_went) {
  const Merged merged = planted_zoo(2).fuse("weight_matching");
  EXPECT_GE(std::stod(merged.facts.at("moved_units")), 0.5);
  EXPECT_GE(std::stoi(merged.facts.at("sweeps")), 2);
}

TEST(WeightMatching, is_refused_for_one_model) {
  EXPECT_EQ(method_registry().at("weight_matching").card.min_experts, 2);
}

}  // namespace
}  // namespace fusegrid::weight_matching_test
