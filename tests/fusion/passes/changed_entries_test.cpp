#include "fusion/passes/changed_entries.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "core/philox.h"

namespace fusegrid {
namespace {

std::vector<SliceVector> in_float64(const std::vector<SliceVector>& vectors) {
  std::vector<SliceVector> wide;
  for (const SliceVector& vector : vectors) {
    wide.emplace_back(vector.tensor().to(at::kDouble));
  }
  return wide;
}

TEST(ChangedEntries, tells_those_of_several_vectors_from_those_of_one) {
  const auto vectors =
      views({at::tensor({1.0F, 0.0F, -2.0F, 0.1F, 5.0F}), at::tensor({3.0F, 0.0F, 0.1F, -4.0F, 0.0F}),
             at::tensor({-1.0F, 0.0F, 0.0F, 0.0F, 0.0F})});
  for (const auto& all : {vectors, in_float64(vectors)}) {
    const auto entries = changed_entries(all, 0.1000001);
    EXPECT_EQ(entries[0].shared, 1);
    EXPECT_EQ(entries[0].unique, 2);
    EXPECT_EQ(entries[1].shared, 1);
    EXPECT_EQ(entries[1].unique, 1);
    EXPECT_EQ(entries[2].shared, 1);
    EXPECT_EQ(entries[2].unique, 0);
    const at::Tensor mean = mean_of_changes(all, 0.1000001, {10, 20, 30}).to(at::kFloat);
    EXPECT_TRUE(mean.equal(at::tensor({1.0F, 0.0F, -20.0F, -80.0F, 50.0F})));
  }
}

// Several chunks of small whole numbers, whose means and sums need no rounding.
TEST(ChangedEntries, are_the_same_in_chunks_and_operation_by_operation) {
  constexpr int64_t kCount = 3 * ChunkReader::kChunk + 17;
  std::vector<SliceVector> vectors;
  for (uint64_t i = 0; i < 4; ++i) {
    vectors.emplace_back((normal(i, 0, 0, kCount) * 2).round() * 12);
  }
  const auto wide = in_float64(vectors);
  const auto entries = changed_entries(vectors, 1);
  const auto expected = changed_entries(wide, 1);
  for (size_t i = 0; i < vectors.size(); ++i) {
    EXPECT_EQ(entries[i].shared, expected[i].shared);
    EXPECT_EQ(entries[i].unique, expected[i].unique);
  }
  const std::vector<double> factors{1, 1.5, 2, 0.25};
  EXPECT_TRUE(mean_of_changes(vectors, 1, factors).to(at::kDouble).equal(mean_of_changes(wide, 1, factors)));
}

}  // namespace
}  // namespace fusegrid
