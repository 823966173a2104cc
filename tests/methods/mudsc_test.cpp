#include "fusion/alignment/matching.h"
#include "methods/alignment_checks.h"

namespace fusegrid::mudsc_test {
namespace {

TEST(Mudsc, equals_its_definition) {
  expect_equals_golden(perceptrons_of_golden(), "mudsc", "mudsc");
}

TEST(Mudsc, of_activations_alone_is_activation_matching) {
  for (const std::string family : {"mlp", "cnn"}) {
    const TestZoo zoo = unit_zoo(3, 2, family);
    EXPECT_EQ(digest(zoo.fuse("mudsc{alpha=0}").weights), digest(zoo.fuse("activation_matching").weights));
  }
}

TEST(Mudsc, of_weights_alone_is_matching_by_their_correlations) {
  const TestZoo zoo = unit_zoo(2, 2);
  const auto groups = zoo.network->architecture->axis_groups();
  const Matching found = match(
      groups, weight_correlations(zoo.experts[0], zoo.experts[1], groups), unmoved(groups), [] {}, 5);
  const Weights expected =
      weighted_mean({zoo.experts[0], permuted(zoo.experts[1], groups, found.alignment)}, {0.5, 0.5});
  expect_close(zoo.fuse("mudsc{alpha=1}").weights, expected, 0);
}

TEST(Mudsc, of_activations_alone_zips_as_zipit) {
  for (const size_t experts : {2U, 3U}) {
    const TestZoo zoo = unit_zoo(experts, 2);
    expect_close(zoo.fuse("mudsc{alpha=0,matching=zip}").weights, zoo.fuse("zipit{a=0.5,b=1}").weights, 0);
  }
}

TEST(Mudsc, zips_by_weights_too) {
  const TestZoo zoo = unit_zoo(2, 3);
  EXPECT_NE(digest(zoo.fuse("mudsc{matching=zip}").weights), digest(zoo.fuse("zipit{a=0.5,b=1}").weights));
  EXPECT_GE(std::stoi(zoo.fuse("mudsc{matching=zip}").facts.at("sweeps")), 2);
  EXPECT_THROW(zoo.fuse("mudsc{matching=zip,t=0.3}"), ConfigError);
}

TEST(Mudsc, lies_between_its_limits) {
  const TestZoo zoo = unit_zoo(2, 3, "cnn");
  std::set<std::string> different;
  for (const std::string alpha : {"0", "0.5", "1"}) {
    different.insert(digest(zoo.fuse("mudsc{alpha=" + alpha + "}").weights));
  }
  EXPECT_GE(different.size(), 2U);
}

TEST(Mudsc, aligns_permuted_copies) {
  for (const std::string family : {"mlp", "cnn"}) {
    expect_aligns_copies("mudsc", 3, family);
    expect_aligns_copies("mudsc{alpha=1}", 2, family);
  }
}

TEST(Mudsc, keeps_a_model_that_is_merged_with_itself) {
  expect_keeps_a_model("mudsc", 3);
}

TEST(Mudsc, draws_a_path_between_two_models) {
  expect_draws_a_path("mudsc");
}

}  // namespace
}  // namespace fusegrid::mudsc_test
