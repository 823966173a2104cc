#include "fusion/passes/agreeing_parts.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "core/philox.h"

namespace fusegrid {
namespace {

TEST(AgreeingParts, are_the_unified_entries_where_the_own_sign_is_theirs) {
  const at::Tensor unified = at::tensor({5.0F, -5.0F, 5.0F, -5.0F, 0.0F, 5.0F});
  const at::Tensor own = at::tensor({1e-30F, -1e-30F, -1.0F, 1.0F, -1.0F, 0.0F});
  const at::Tensor expected = at::tensor({5.0F, -5.0F, 0.0F, 0.0F, 0.0F, 0.0F});
  EXPECT_TRUE(agreeing_parts(views({own}), unified)[0].equal(expected));
  EXPECT_TRUE(agreeing_parts(views({own.to(at::kDouble)}), unified)[0].equal(expected));
}

// Task vectors over several chunks and a rest.
struct Vectors {
  at::Tensor base = normal(9, 0, 0, 3 * ChunkReader::kChunk + 17);
  at::Tensor unified = normal(8, 0, 0, base.numel());
  std::vector<SliceVector> all{SliceVector(normal(1, 0, 0, base.numel()), base),
                               SliceVector(normal(2, 0, 0, base.numel()).to(at::kBFloat16), base)};
};

TEST(AddAgreeingParts, rounds_once) {
  const Vectors vectors;
  const auto parts = agreeing_parts(vectors.all, vectors.unified);
  const auto models = add_agreeing_parts(vectors.base, vectors.all, vectors.unified, {0.7, -1.3});
  EXPECT_TRUE(models[0].equal(at::add(vectors.base, parts[0], 0.7)));
  EXPECT_TRUE(models[1].equal(at::add(vectors.base, parts[1], -1.3)));
  const std::vector<at::Tensor> memory{at::empty_like(vectors.base), at::empty_like(vectors.base)};
  add_agreeing_parts(vectors.base, vectors.all, vectors.unified, {0.7, -1.3}, memory);
  EXPECT_TRUE(memory[0].equal(models[0]));
  EXPECT_TRUE(memory[1].equal(models[1]));
}

TEST(AgreeingMagnitudes, are_sums_in_float64_on_chunks_and_operation_by_operation) {
  const Vectors vectors;
  const auto parts = agreeing_parts(vectors.all, vectors.unified);
  const auto sums = agreeing_magnitudes(vectors.all, vectors.unified);
  for (size_t i = 0; i < parts.size(); ++i) {
    const SliceVector wide(vectors.all[i].tensor().to(at::kDouble));
    const Magnitudes expected = agreeing_magnitudes({wide}, vectors.unified)[0];
    EXPECT_NEAR(sums[i].own, expected.own, 1e-12 * expected.own);
    EXPECT_NEAR(sums[i].agreeing, expected.agreeing, 1e-12 * expected.own);
    EXPECT_NEAR(sums[i].agreeing, parts[i].to(at::kDouble).abs().sum().item<double>(), 1e-12 * expected.own);
  }
}

}  // namespace
}  // namespace fusegrid
