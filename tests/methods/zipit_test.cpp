#include "methods/alignment_checks.h"

namespace fusegrid::zipit_test {
namespace {

TEST(ZipIt, equals_its_definition) {
  expect_equals_golden(perceptrons_of_golden(), "zipit{a=0.3,b=0.4}", "zipit");
}

// Its units are in the order in which they were merged, which rounding decides where all copies are equal.
TEST(ZipIt, of_permuted_copies_answers_as_they_do) {
  for (const std::string family : {"mlp", "cnn"}) {
    expect_answers_as_copies("zipit{b=0}", planted_zoo(2, family));
    expect_answers_as_copies("zipit{a=1,b=0}", planted_zoo(3, family));
  }
}

TEST(ZipIt, keeps_a_model_that_is_merged_with_itself) {
  expect_keeps_a_model("zipit{a=0,b=0}");
}

// Everything apart is an ensemble of separate models: each task is answered by its own.
TEST(ZipIt, with_every_group_apart_answers_as_the_experts_do) {
  for (const std::string family : {"mlp", "cnn"}) {
    const TestZoo zoo = unit_zoo(3, 2, family);
    const Merged merged = zoo.fuse("zipit{apart=2}");
    for (size_t i = 0; i < 3; ++i) {
      expect_close(zoo.logits(merged, zoo.tasks[i]), zoo.logits_of(zoo.experts[i], zoo.tasks[i]), 1e-4);
    }
    EXPECT_EQ(merged.stored_parameters, static_cast<double>(3 * num_parameters(zoo.experts[0])));
  }
}

TEST(ZipIt, of_one_group_apart_shares_the_layers_before) {
  const TestZoo zoo = unit_zoo(2, 2);
  const Merged part = zoo.fuse("zipit{apart=1}");
  const Merged whole = zoo.fuse("zipit");
  expect_close(part.weights.at("layers.0.weight"), whole.weights.at("layers.0.weight"), 0);
  EXPECT_EQ(part.weights.at("layers.1.weight").sizes().vec(), (std::vector<int64_t>{16, 10}));
  EXPECT_GT(part.stored_parameters, whole.stored_parameters);
  EXPECT_NE(digest(part.weights), digest(whole.weights));
}

TEST(ZipIt, refuses_what_it_cannot_do) {
  EXPECT_THROW(unit_zoo(3).fuse("zipit{a=0}"), ConfigError);
  EXPECT_THROW(unit_zoo(2).fuse("zipit{apart=3}"), ConfigError);
}

TEST(ZipIt, asks_for_free_widths_where_groups_stay_apart) {
  const Method& method = method_registry().at("zipit");
  EXPECT_FALSE(method.demands({}).contains(Demand::kFreeWidths));
  EXPECT_TRUE(method.demands({{"apart", "1"}}).contains(Demand::kFreeWidths));
}

}  // namespace
}  // namespace fusegrid::zipit_test
