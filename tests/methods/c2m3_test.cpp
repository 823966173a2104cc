#include "methods/alignment_checks.h"

namespace fusegrid::c2m3_test {
namespace {

TEST(C2M3, equals_its_definition) {
  expect_equals_golden(perceptrons_of_golden(), "c2m3", "c2m3");
}

TEST(C2M3, aligns_permuted_copies) {
  for (const std::string family : {"mlp", "cnn"}) {
    expect_aligns_copies("c2m3", 3, family);
  }
}

TEST(C2M3, keeps_a_model_that_is_merged_with_itself) {
  expect_keeps_a_model("c2m3", 3);
}

TEST(C2M3, draws_a_path_between_two_models) {
  expect_draws_a_path("c2m3");
}

TEST(C2M3, ends_before_it_has_to) {
  EXPECT_LT(std::stoi(unit_zoo(3, 2).fuse("c2m3").facts.at("iterations")), 100);
  EXPECT_EQ(unit_zoo(3, 2).fuse("c2m3{iterations=1}").facts.at("iterations"), "1");
}

}  // namespace
}  // namespace fusegrid::c2m3_test
