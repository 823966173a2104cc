#include "fusion/alignment/zip.h"

#include <cmath>
#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "core/philox.h"
#include "support/golden.h"

namespace fusegrid::zip_test {
namespace {

at::Tensor random_correlations(int64_t units, uint64_t key = 2) {
  const at::Tensor samples = normal(key, 0, 0, units * 50).view({50, units}).to(at::kDouble);
  const at::Tensor centred = samples - samples.mean(0);
  const at::Tensor unit = centred / centred.norm(2, {0}, true);
  return at::matmul(unit.t(), unit);
}

// Merged units whose parts are all of one model.
int64_t within(const UnitMap& map) {
  return (map.reads.sum(0) > 1.5).sum().item<int64_t>();
}

TEST(Zip, leaves_as_many_units_as_one_model_has_and_every_unit_in_one_of_them) {
  for (const size_t models : {2U, 3U}) {
    for (const ZipRule rule : {ZipRule{0.3, 0.125}, ZipRule{1, 1}, ZipRule{0.01, 0}}) {
      const auto maps = zipped_units(random_correlations(8 * static_cast<int64_t>(models)), models, rule);
      ASSERT_EQ(maps.size(), models);
      at::Tensor parts;
      for (const UnitMap& map : maps) {
        ASSERT_EQ(map.makes.sizes().vec(), (std::vector<int64_t>{8, 8}));
        ASSERT_EQ(map.reads.sizes().vec(), (std::vector<int64_t>{8, 8}));
        expect_close(map.reads.sum(1), at::ones({8}, at::kDouble), 0);
        parts = parts.defined() ? parts + map.makes.sum(1) : map.makes.sum(1);
      }
      expect_close(parts, at::ones({8}, at::kDouble), 1e-12);
    }
  }
}

TEST(Zip, of_a_model_with_itself_merges_counterparts) {
  const at::Tensor one = random_correlations(6);
  at::Tensor both = at::ones({2, 2}, at::kDouble).unsqueeze(1).unsqueeze(3) * one.unsqueeze(0).unsqueeze(2);
  const auto maps = zipped_units(both.reshape({12, 12}), 2, {0, 0});
  for (const UnitMap& map : maps) {
    expect_close(map.makes, at::eye(6, at::kDouble) * 0.5, 0);
    expect_close(map.reads, at::eye(6, at::kDouble), 0);
  }
  const auto dead = zipped_units(at::eye(6, at::kDouble), 2, {0, 0});  // nothing correlates
  expect_close(dead[1].reads, at::eye(3, at::kDouble), 0);
}

TEST(Zip, without_a_budget_pairs_units_of_different_models) {
  for (const UnitMap& map : zipped_units(random_correlations(20), 2, {0, 0})) {
    EXPECT_EQ(within(map), 0);
    expect_close(map.makes.sum(1), at::ones({10}, at::kDouble) * 0.5, 0);
  }
}

// Model 0 has all its units twice: they merge, as far as the budget lets them.
TEST(Zip, merges_units_of_one_model_within_its_budget) {
  constexpr int64_t kUnits = 8;
  at::Tensor correlations = random_correlations(2 * kUnits) * 0.5;
  for (int64_t i = 0; i < kUnits; i += 2) {
    correlations[i][i + 1] = 0.99;
    correlations[i + 1][i] = 0.99;
  }
  EXPECT_EQ(within(zipped_units(correlations, 2, {0, 0})[0]), 0);
  EXPECT_EQ(within(zipped_units(correlations, 2, {0, 0.25})[0]), 1);
  EXPECT_EQ(within(zipped_units(correlations, 2, {0, 0.5})[0]), 2);
  EXPECT_EQ(within(zipped_units(correlations, 2, {0, 1})[0]), 4);
}

TEST(Zip, closes_merged_units_where_a_is_0) {
  for (const UnitMap& map : zipped_units(random_correlations(24), 2, {0, 1})) {
    EXPECT_GE(map.makes.masked_fill(map.makes == 0, 1).min().item<double>(), 0.5);
  }
}

TEST(Zip, refuses_correlations_that_are_no_numbers) {
  at::Tensor correlations = random_correlations(4);
  correlations[0][1] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(zipped_units(correlations, 2, {}), DataError);
}

}  // namespace
}  // namespace fusegrid::zip_test
