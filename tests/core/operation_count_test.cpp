#include "core/operation_count.h"

#include <functional>
#include <thread>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cholesky_solve.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_cholesky.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/linalg_eigvalsh.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <gtest/gtest.h>

#include "core/philox.h"

namespace fusegrid {
namespace {

at::Tensor some(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t side : shape) {
    count *= side;
  }
  return normal(7, 0, 0, count).view(shape);
}

at::Tensor definite(int64_t n) {
  const at::Tensor root = some({n, n});
  return at::matmul(root, root.t()) + at::eye(n) * static_cast<double>(n);
}

int64_t operations_of(const std::function<void()>& work) {
  const OperationCount count;
  work();
  return count.operations();
}

TEST(OperationCount, products_are_two_operations_for_each_product_of_numbers) {
  const at::Tensor a = some({3, 5}), b = some({5, 7}), many = some({4, 3, 5}), others = some({4, 5, 7});
  EXPECT_EQ(operations_of([&] { at::matmul(a, b); }), 2 * 3 * 5 * 7);
  EXPECT_EQ(operations_of([&] { at::addmm(some({7}), a, b); }), 2 * 3 * 5 * 7);
  EXPECT_EQ(operations_of([&] { at::bmm(many, others); }), 4 * 2 * 3 * 5 * 7);
  EXPECT_EQ(operations_of([&] { at::matmul(many, b); }), 4 * 2 * 3 * 5 * 7);
  EXPECT_EQ(operations_of([&] { at::mv(a, some({5})); }), 2 * 3 * 5);
  EXPECT_EQ(operations_of([&] { at::linear(many, some({7, 5}), some({7})); }), 4 * 2 * 3 * 5 * 7);
}

TEST(OperationCount, a_linear_layer_costs_twice_as_much_backward) {
  at::AutoGradMode with_gradients(true);
  const at::Tensor x = some({6, 5}).requires_grad_(true), w = some({7, 5}).requires_grad_(true);
  const int64_t forward = 2 * 6 * 5 * 7;
  EXPECT_EQ(operations_of([&] { at::linear(x, w).sum().backward(); }), 3 * forward);
}

TEST(OperationCount, a_convolution_is_a_product_for_each_place) {
  at::AutoGradMode with_gradients(true);
  const at::Tensor x = some({2, 4, 9, 8}), w = some({6, 2, 3, 3}).requires_grad_(true);
  // two groups of channels; 5 x 4 places
  const auto forward = [&] { return at::conv2d(x, w, {}, {2, 2}, {1, 1}, {1, 1}, 2); };
  const int64_t once = 2 * 2 * 5 * 4 * 6 * 2 * 3 * 3;
  EXPECT_EQ(operations_of([&] { forward(); }), once);
  EXPECT_EQ(operations_of([&] { forward().sum().backward(); }), 2 * once) << "the input needs no gradient";
}

TEST(OperationCount, attention_is_two_products_and_five_backward) {
  const at::Tensor q = some({2, 3, 8, 4}), k = some({2, 3, 6, 4}), v = some({2, 3, 6, 4});
  const int64_t product = 2 * 2 * 3 * 8 * 6 * 4;
  EXPECT_EQ(operations_of([&] { at::scaled_dot_product_attention(q, k, v); }), 2 * product);
  at::AutoGradMode with_gradients(true);
  q.requires_grad_(true);
  k.requires_grad_(true);
  v.requires_grad_(true);
  const int64_t both = operations_of([&] { at::scaled_dot_product_attention(q, k, v).sum().backward(); });
  EXPECT_TRUE(both == 7 * product || both == 6 * product)
      << both << ": a kernel of its own, or four products";
}

TEST(OperationCount, decompositions_are_those_of_the_books) {
  const int64_t n = 6;
  const at::Tensor a = definite(n), right = some({n, 4}), tall = some({10, n});
  at::Tensor factor;
  EXPECT_EQ(operations_of([&] { factor = at::linalg_cholesky(a); }), n * n * n / 3);
  EXPECT_EQ(operations_of([&] { at::cholesky_solve(right, factor); }), 2 * n * n * 4);
  EXPECT_EQ(operations_of([&] { at::linalg_solve(a, right); }), 2 * n * n * n / 3 + 2 * n * n * 4);
  EXPECT_EQ(operations_of([&] { at::linalg_eigh(a); }), 9 * n * n * n);
  EXPECT_EQ(operations_of([&] { at::linalg_eigvalsh(a); }), 4 * n * n * n / 3);
  EXPECT_EQ(operations_of([&] { at::linalg_svd(tall, false); }), 14 * 10 * n * n + 8 * n * n * n);
  EXPECT_EQ(operations_of([&] { at::linalg_qr(tall); }), 4 * n * n * 10 - 4 * n * n * n / 3);
}

TEST(OperationCount, counts_all_threads_while_it_lives) {
  const at::Tensor a = some({3, 5}), b = some({5, 7});
  at::matmul(a, b);
  const OperationCount count;
  EXPECT_EQ(count.operations(), 0);
  std::thread([&] { at::matmul(a, b); }).join();
  count_operations(11);
  EXPECT_EQ(count.operations(), 2 * 3 * 5 * 7 + 11);
}

}  // namespace
}  // namespace fusegrid
