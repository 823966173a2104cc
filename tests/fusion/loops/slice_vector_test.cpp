#include "fusion/loops/slice_vector.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/signbit.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "support/drop_masks.h"

namespace fusegrid::slice_vector_test {
namespace {

constexpr int64_t kCount = 3 * ChunkReader::kChunk + 17;
const std::vector<at::ScalarType> kStored{at::kFloat, at::kBFloat16, at::kHalf};

// All entries of the vectors, one tensor each.
std::vector<at::Tensor> read_all(const std::vector<SliceVector>& vectors) {
  ChunkReader reader(vectors);
  std::vector<at::Tensor> all;
  for (size_t i = 0; i < vectors.size(); ++i) {
    all.push_back(at::empty({reader.elements()}, at::TensorOptions(at::kFloat)));
  }
  float scratch[ChunkReader::kChunk];
  reader.for_each_chunk([&](int64_t begin, int64_t count) {
    for (size_t i = 0; i < vectors.size(); ++i) {
      std::copy_n(reader.read(i, scratch), count, all[i].mutable_data_ptr<float>() + begin);
    }
  });
  return all;
}

at::Tensor read_all(const SliceVector& vector) {
  return read_all(std::vector<SliceVector>{vector}).front();
}

TEST(ChunkReader, gives_the_numbers_of_float32_arithmetic_for_every_dtype) {
  for (const at::ScalarType left : kStored) {
    const at::Tensor values = normal(1, 0, 0, kCount).to(left);
    EXPECT_TRUE(read_all(SliceVector(values)).equal(values.to(at::kFloat)));
    for (const at::ScalarType right : kStored) {
      const at::Tensor minus = normal(2, 0, 0, kCount).to(right);
      const SliceVector difference(values, minus);
      const at::Tensor expected = at::sub(values.to(at::kFloat), minus.to(at::kFloat));
      EXPECT_TRUE(read_all(difference).equal(expected));
      EXPECT_TRUE(difference.tensor().equal(expected));
    }
  }
}

TEST(ChunkReader, reads_several_vectors_with_one_subtrahend_with_others_and_without) {
  const at::Tensor base = normal(9, 0, 0, kCount).to(at::kBFloat16);
  const at::Tensor other = normal(8, 0, 0, kCount).to(at::kBFloat16);
  const at::Tensor a = normal(1, 0, 0, kCount).to(at::kBFloat16);
  const at::Tensor b = normal(2, 0, 0, kCount);
  for (const std::vector<SliceVector>& vectors : {std::vector{SliceVector(a, base), SliceVector(b, base)},
                                                  std::vector{SliceVector(a, base), SliceVector(b, other)},
                                                  std::vector{SliceVector(a), SliceVector(b, base)},
                                                  std::vector{SliceVector(a, base), SliceVector(b)}}) {
    const auto all = read_all(vectors);
    for (size_t i = 0; i < vectors.size(); ++i) {
      EXPECT_TRUE(all[i].equal(vectors[i].tensor())) << i;
    }
  }
}

TEST(ChunkReader, reads_vectors_that_are_not_contiguous) {
  const at::Tensor values = normal(1, 0, 0, 6'000).view({2'000, 3}).t();
  ASSERT_FALSE(values.is_contiguous());
  EXPECT_TRUE(read_all(SliceVector(values)).equal(values.contiguous().view({-1})));
}

TEST(ChunkReader, drops_the_entries_that_operations_on_blocks_drop) {
  SliceVector vector(normal(1, 0, 0, kCount).to(at::kBFloat16), normal(2, 0, 0, kCount));
  vector.drop = {7, 3, 0.3, -1.7};
  const at::Tensor all = vector.values.to(at::kFloat) - vector.minus;
  const at::Tensor expected = all * at::where(kept_by_definition(7, 0.3, 3, kCount), -1.7F, 0.0F);
  EXPECT_TRUE(read_all(vector).equal(expected));
  EXPECT_TRUE(vector.tensor().equal(expected));
  EXPECT_TRUE(vector.tensor().signbit().equal(expected.signbit()));
  EXPECT_TRUE(read_all(vector).signbit().equal(expected.signbit()));
  SliceVector wide(all.to(at::kDouble));
  wide.drop = vector.drop;
  EXPECT_TRUE(wide.tensor().equal(wide.values * at::where(expected != 0, -1.7, 0.0).to(at::kDouble)));
}

TEST(WeightedSumOf, rounds_once_per_vector) {
  const at::Tensor base = normal(9, 0, 0, kCount).to(at::kBFloat16);
  std::vector<SliceVector> vectors;
  std::vector<double> weights;
  at::Tensor expected = at::zeros({kCount}, at::TensorOptions(at::kFloat));
  for (size_t i = 0; i < 5; ++i) {
    vectors.emplace_back(normal(i, 0, 0, kCount).to(kStored[i % 3]), base);
    weights.push_back(0.1 + static_cast<double>(i));
    expected.add_(vectors.back().tensor(), weights.back());
  }
  EXPECT_TRUE(weighted_sum_of(vectors, weights).equal(expected));
  vectors.emplace_back(base.to(at::kDouble));
  weights.push_back(1);
  const at::Tensor wider = weighted_sum_of(vectors, weights);
  EXPECT_TRUE(wider.equal(expected.add_(base.to(at::kDouble))));
}

TEST(SumOf, adds_in_order_and_leaves_its_arguments_alone) {
  std::vector<SliceVector> vectors;
  at::Tensor expected;
  const at::Tensor base = normal(9, 0, 0, kCount).to(at::kBFloat16);
  for (size_t i = 0; i < 5; ++i) {
    vectors.emplace_back(normal(i, 0, 0, kCount).to(kStored[i % 3]), base);
    const at::Tensor value = vectors.back().tensor();
    expected = i == 0 ? value : expected + value;
  }
  EXPECT_TRUE(sum_of(vectors).equal(expected));
  EXPECT_TRUE(mean_of(vectors).equal(expected / 5));

  const at::Tensor alone = normal(7, 0, 0, kCount);
  const at::Tensor before = alone.clone();
  sum_of(std::vector<at::Tensor>{alone}).add_(1);
  sum_of(std::vector<at::Tensor>{alone.to(at::kDouble), alone.to(at::kDouble)}).add_(1);
  EXPECT_TRUE(alone.equal(before));
}

// In chunks and, what float64 stands for, operation by operation.
TEST(LargestOf, takes_the_later_of_equal_magnitudes) {
  const at::Tensor a = at::tensor({1.0F, -3.0F, 2.0F, 0.0F});
  const at::Tensor b = at::tensor({-2.0F, 1.0F, -2.0F, 0.0F});
  const at::Tensor expected = at::tensor({-2.0F, -3.0F, -2.0F, 0.0F});
  EXPECT_TRUE(largest_of(views({a, b})).equal(expected));
  EXPECT_TRUE(largest_of(views({a.to(at::kDouble), b.to(at::kDouble)})).equal(expected.to(at::kDouble)));
}

TEST(SumOf, computes_in_float64_where_the_vectors_are) {
  const at::Tensor values = normal(1, 0, 0, kCount).to(at::kDouble) * (1.0 / 3);
  const at::Tensor sum = sum_of(std::vector<at::Tensor>{values, values});
  EXPECT_EQ(sum.scalar_type(), at::kDouble);
  EXPECT_TRUE(sum.equal(values + values));
}

}  // namespace
}  // namespace fusegrid::slice_vector_test
