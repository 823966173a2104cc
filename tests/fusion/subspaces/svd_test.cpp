#include "fusion/subspaces/svd.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/logspace.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "core/concatenate.h"
#include "core/philox.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::svd_test {
namespace {

at::Tensor random(uint64_t key, int64_t rows, int64_t columns) {
  return normal(key, 0, 0, rows * columns).view({rows, columns}).to(at::kDouble);
}

at::Tensor orthonormal(uint64_t key, int64_t rows, int64_t columns) {
  return std::get<0>(at::linalg_qr(random(key, rows, columns)));
}

at::Tensor with_spectrum(const at::Tensor& s, int64_t rows, int64_t columns) {
  return at::matmul(orthonormal(1, rows, s.numel()) * s, orthonormal(2, columns, s.numel()).t());
}

double orthogonality(const at::Tensor& columns) {
  const at::Tensor gram = at::matmul(columns.t(), columns);
  return (gram - at::eye(gram.size(0), gram.options())).abs().max().item<double>();
}

TEST(SignificantSvd, is_a_decomposition_of_tall_wide_and_square_matrices) {
  for (const auto& [rows, columns] : {std::pair{12, 5}, {5, 12}, {7, 7}, {1, 4}, {4, 1}}) {
    const at::Tensor a = random(3, rows, columns);
    const Svd svd = significant_svd(a);
    EXPECT_EQ(svd.rank(), std::min(rows, columns));
    expect_close(svd.product(), a, 1e-13);
    expect_close(svd.s, std::get<1>(at::linalg_svd(a, false)), 1e-13);
    EXPECT_LE(orthogonality(svd.u), 1e-12);
    EXPECT_LE(orthogonality(svd.v), 1e-12);
    expect_close(svd.first(1).u, svd.u.narrow(1, 0, 1), 0);
  }
}

// The bound of the header, measured at its limit: singular values down to just above 1e-4 of the largest.
TEST(SignificantSvd, of_the_gram_matrix_is_accurate_down_to_its_condition) {
  const at::Tensor s = at::logspace(0, -3.99, 24, 10, at::kDouble);
  for (const auto& [rows, columns] : {std::pair{60, 24}, {24, 60}}) {
    const Svd svd = significant_svd(with_spectrum(s, rows, columns));
    ASSERT_EQ(svd.rank(), 24);
    EXPECT_LE(((svd.s - s) / s).abs().max().item<double>(), 2e-8);
    EXPECT_LE(orthogonality(svd.u), 2e-8);
    EXPECT_LE(orthogonality(svd.v), 2e-8);
  }
}

// Where the Gram matrix alone would be wrong by 1e-16 / (2e-6)^2 = 3e-5.
TEST(SignificantSvd, of_smaller_significant_values_is_a_full_one) {
  const at::Tensor s = at::logspace(0, -5.7, 8, 10, at::kDouble);
  const Svd svd = significant_svd(with_spectrum(s, 12, 8));
  ASSERT_EQ(svd.rank(), 8);
  EXPECT_LE(((svd.s - s) / s).abs().max().item<double>(), 1e-9);
  EXPECT_LE(orthogonality(svd.u), 1e-13);
  EXPECT_EQ(significant_svd(with_spectrum(s, 12, 8), 3).rank(), 3);
}

TEST(SignificantSvd, leaves_out_what_rounding_to_float32_added) {
  const at::Tensor low_rank = at::matmul(random(4, 40, 3), random(5, 3, 30)).to(at::kFloat);
  EXPECT_EQ(significant_svd(low_rank).rank(), 3);
  EXPECT_EQ(significant_svd(at::zeros({4, 3})).rank(), 0);
  expect_close(significant_svd(at::zeros({4, 3})).product(), at::zeros({4, 3}), 0);
}

TEST(SignificantSvd, has_signs_that_do_not_depend_on_the_library) {
  const at::Tensor a = random(6, 6, 9);
  const Svd svd = significant_svd(a);
  const Svd negated = significant_svd(-a);
  expect_close(negated.v, svd.v, 1e-12);
  expect_close(negated.u, -svd.u, 1e-12);
  const at::Tensor largest = std::get<0>(svd.v.max(0));
  EXPECT_TRUE(largest.eq(std::get<0>(svd.v.abs().max(0))).all().item<bool>());
}

TEST(PolarFactor, is_orthonormal_and_nearest) {
  const at::Tensor a = random(7, 9, 4);
  const at::Tensor polar = polar_factor(a);
  EXPECT_LE(orthogonality(polar), 1e-12);
  const at::Tensor stretch = at::matmul(polar.t(), a);  // symmetric, positive: a = polar * stretch
  expect_close(stretch, stretch.t(), 1e-12);
  expect_close(at::matmul(polar, stretch), a, 1e-12);
  expect_close(polar_factor(orthonormal(8, 9, 4)), orthonormal(8, 9, 4), 1e-12);
}

TEST(PolarFactor, of_repeated_columns_shares_them) {
  const at::Tensor u = orthonormal(9, 6, 2);
  expect_close(polar_factor(concatenate({u, u}, 1)), concatenate({u, u}, 1) / std::sqrt(2.0), 1e-12);
}

TEST(TaskVectorSvd, is_computed_once_per_expert_and_tensor_and_equal_from_the_cache) {
  const TestZoo zoo = random_zoo(2);
  const auto all = [&](const FusionInput& in) {
    Weights parts;
    in.map_tensors([&](const Slice& slice) -> at::Tensor {
      for (size_t i = 0; is_matrix(*slice.info) && i < 2; ++i) {
        const Svd svd = task_vector_svd(in, slice, i);
        expect_close(svd.product(), slice.task_vector(i).to(at::kDouble), 1e-7);
        parts[slice.name() + std::to_string(i)] = svd.product();
      }
      return slice.base();
    });
    return digest(parts);
  };
  zoo.with_needs({Need::kPretrained}, [&](const FusionInput& in) { EXPECT_EQ(all(in), all(in)); });
  zoo.first(1).with_needs({Need::kPretrained}, [&](const FusionInput& in) {
    in.map_tensors([&](const Slice& slice) -> at::Tensor {  // another set of experts, the same one's SVD
      return is_matrix(*slice.info) ? task_vector_svd(in, slice, 0).product() : slice.base();
    });
  });
  int64_t matrices = 0;
  for (const auto& [name, tensor] : zoo.base) {
    matrices += tensor.is_floating_point() && tensor.dim() == 2 ? 1 : 0;
  }
  int64_t decompositions = 0;
  for (const auto& [key, times] : zoo.cache->computed()) {
    EXPECT_EQ(times, 1) << key;
    decompositions += key.find("/svd/") == std::string::npos ? 0 : 1;
  }
  EXPECT_EQ(decompositions, 2 * matrices);
}

TEST(IsLinearWeight, judges_by_shape_and_name) {
  const auto judge = [](const std::string& name, const std::vector<int64_t>& shape) {
    return is_linear_weight({name, shape, at::kFloat});
  };
  EXPECT_TRUE(judge("encoder.layers.0.mlp.fc1.weight", {4, 3}));
  EXPECT_TRUE(judge("lm_head.weight", {4, 3}));
  EXPECT_FALSE(judge("encoder.layers.0.mlp.fc1.bias", {4}));
  EXPECT_FALSE(judge("embeddings.position_embedding.weight", {4, 3}));
  EXPECT_FALSE(judge("model.embed_tokens.weight", {4, 3}));
  EXPECT_FALSE(judge("transformer.wte.weight", {4, 3}));
  EXPECT_TRUE(judge("layers.0.convolution.weight", {4, 3, 2, 2}));
  EXPECT_FALSE(judge("embeddings.patch_embedding.weight", {4, 3, 2, 2}));
  EXPECT_FALSE(judge("layers.0.convolution.weight", {4, 0, 2, 2}));
}

}  // namespace
}  // namespace fusegrid::svd_test
