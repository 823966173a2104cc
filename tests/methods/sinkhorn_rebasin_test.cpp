#include "methods/alignment_checks.h"

namespace fusegrid::sinkhorn_rebasin_test {
namespace {

TEST(SinkhornRebasin, aligns_permuted_copies_by_the_distance_of_weights) {
  for (const std::string family : {"mlp", "cnn"}) {
    expect_aligns_copies("sinkhorn_rebasin{objective=distance,steps=200}", 3, family);
  }
}

TEST(SinkhornRebasin, keeps_a_model_that_is_merged_with_itself) {
  expect_keeps_a_model("sinkhorn_rebasin{objective=distance,steps=50}");
  expect_keeps_a_model("sinkhorn_rebasin{steps=5}");
}

TEST(SinkhornRebasin, draws_a_path_between_two_models) {
  expect_draws_a_path("sinkhorn_rebasin", ",steps=3");
}

TEST(SinkhornRebasin, needs_no_data_for_distances) {
  const Method& method = method_registry().at("sinkhorn_rebasin");
  EXPECT_TRUE(method.needs({{"objective", "distance"}}).empty());
  EXPECT_EQ(method.needs({}), method.card.needs);
  const TestZoo zoo = unit_zoo(2);
  zoo.fuse("sinkhorn_rebasin{objective=distance,steps=2}");
  EXPECT_TRUE(zoo.data.touched().empty());
}

}  // namespace
}  // namespace fusegrid::sinkhorn_rebasin_test
