#include "fusion/subspaces/matrix_merges.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "methods/planted.h"
#include "support/line_zoo.h"

namespace fusegrid {
namespace {

TEST(TiesOfParameter, keeps_so_many_of_each_and_merges_those_of_the_elected_sign) {
  const std::vector<at::Tensor> values{at::tensor({5.0, -4.0, 1.0, 3.0}), at::tensor({2.0, 6.0, -4.0, -1.0})};
  expect_line(ties_of_parameter(values, 2, "sum"), {5, 6, -4, 0});
  expect_line(ties_of_parameter(values, 4, "sum"), {7, 6, -4, 3});
  expect_line(ties_of_parameter(values, 4, "mean"), {3.5, 6, -4, 3});
}

// Singular vectors are known up to a sign, which is one for the coordinates of all experts: TIES does not mind.
TEST(TiesOfParameter, follows_flips_of_rows_and_columns_that_all_values_share) {
  const at::Tensor rows = at::tensor({1.0, -1.0, -1.0, 1.0, -1.0}).unsqueeze(1);
  const at::Tensor columns = at::tensor({-1.0, 1.0, 1.0, -1.0, -1.0, 1.0, 1.0});
  std::vector<at::Tensor> values;
  std::vector<at::Tensor> flipped;
  for (uint64_t key = 1; key <= 3; ++key) {
    values.push_back(random_matrix(key, 5, 7).to(at::kDouble));
    flipped.push_back(values.back() * rows * columns);
  }
  for (const std::string merge : {"sum", "mean"}) {
    const at::Tensor merged = ties_of_parameter(values, 20, merge);
    EXPECT_TRUE(ties_of_parameter(flipped, 20, merge).equal(merged * rows * columns)) << merge;
  }
  // the exception: entries that cancel exactly elect - in either case
  expect_line(ties_of_parameter({at::tensor({1.0}), at::tensor({-1.0})}, 1, "sum"), {-1});
  expect_line(ties_of_parameter({at::tensor({-1.0}), at::tensor({1.0})}, 1, "sum"), {-1});
}

TEST(OrthogonalisedSum, is_the_sum_of_what_is_orthogonal_and_turns_what_is_not) {
  std::vector<Svd> parts;
  at::Tensor sum;
  for (const at::Tensor& tau : orthogonal_taus(3, 6, 8)) {
    parts.push_back(significant_svd(tau));
    sum = sum.defined() ? sum + tau : tau;
  }
  expect_close(orthogonalised_sum(parts), sum.to(at::kDouble), 1e-6);
  // two directions of 60 degrees: the nearest orthonormal pair is 15 degrees further out on either side
  const at::Tensor a = at::tensor({1.0, 0.0}).unsqueeze(1);
  const at::Tensor b = at::tensor({0.5, 0.8660254037844386}).unsqueeze(1);
  const at::Tensor one = at::tensor({1.0});
  const at::Tensor turned = orthogonalised_sum({{a, one, a}, {b, one, at::tensor({0.0, 1.0}).unsqueeze(1)}});
  expect_line(turned.reshape({4}), {0.9659258, 0.2588190, -0.2588190, 0.9659258}, 1e-6);
}

TEST(Isotropic, shares_the_spectrum_among_the_directions) {
  const at::Tensor flat = isotropic(orthogonal_taus(1, 4, 5)[0], 4);
  const Svd svd = significant_svd(flat);
  expect_line(svd.s, {1, 1});  // (3 + 1) / 4; what is rounding is not raised
}

}  // namespace
}  // namespace fusegrid
