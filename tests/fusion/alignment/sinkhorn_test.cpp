#include "fusion/alignment/sinkhorn.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "fusion/alignment/assignment.h"
#include "fusion/alignment/permutation.h"
#include "support/golden.h"

namespace fusegrid::sinkhorn_test {
namespace {

at::Tensor random_scores(int64_t n, uint64_t key = 3) {
  return normal(key, 0, 0, n * n).view({n, n}).to(at::kDouble);
}

TEST(Sinkhorn, has_rows_and_columns_that_sum_to_one) {
  for (const double temperature : {10.0, 1.0, 0.2}) {
    const at::Tensor plan = sinkhorn(random_scores(12), temperature, 20000, 1e-10);
    expect_close(plan.sum(0), at::ones({12}, at::kDouble), 1e-12);
    expect_close(plan.sum(1), at::ones({12}, at::kDouble), 1e-9);
  }
}

TEST(Sinkhorn, equals_its_definition) {
  const Golden golden = read_golden("alignment__perceptrons");
  expect_close(sinkhorn(golden.tensors.at("scores"), 0.3, 100000, 1e-12), golden.tensors.at("sinkhorn"),
               1e-9);
}

TEST(Sinkhorn, goes_to_the_best_assignment) {
  const at::Tensor scores = random_scores(10);
  const at::Tensor best = matrix_of(best_assignment(scores), at::kCPU);
  double before = 1;
  for (const double temperature : {0.3, 0.1, 0.03}) {
    const double apart = (sinkhorn(scores, temperature, 20000, 1e-6) - best).abs().max().item<double>();
    EXPECT_LT(apart, before) << temperature;
    before = apart;
  }
  EXPECT_LT(before, 0.05);
}

TEST(Sinkhorn, stays_finite_where_exponentials_underflow) {
  const at::Tensor best = matrix_of(permutation(2, 0, 6), at::kCPU);
  const at::Tensor scores = best * 1e6 + random_scores(6);  // exp(-1e7) is 0
  expect_close(sinkhorn(scores, 0.1, 100), best, 1e-9);
}

TEST(Sinkhorn, of_scores_with_a_sum_of_rows_and_columns_is_the_same) {
  const at::Tensor scores = random_scores(7);
  const at::Tensor shifted = scores + random_scores(7, 4).select(0, 0).unsqueeze(0) * 3 +
                             random_scores(7, 5).select(0, 0).unsqueeze(1) * 3;
  expect_close(sinkhorn(shifted, 0.5, 10000, 1e-12), sinkhorn(scores, 0.5, 10000, 1e-12), 1e-9);
}

TEST(Sinkhorn, has_the_gradient_of_finite_differences) {
  const at::AutoGradMode with_gradients(true);
  const at::Tensor weights = random_scores(5, 6);
  const auto value = [&](const at::Tensor& scores) { return (sinkhorn(scores, 0.7, 20) * weights).sum(); };
  at::Tensor scores = random_scores(5).requires_grad_(true);
  value(scores).backward();
  for (int64_t entry = 0; entry < 25; entry += 6) {
    at::Tensor up = scores.detach().clone();
    at::Tensor down = scores.detach().clone();
    up.view(-1)[entry] += 1e-5;
    down.view(-1)[entry] -= 1e-5;
    const double slope = (value(up) - value(down)).item<double>() / 2e-5;
    EXPECT_NEAR(scores.grad().view(-1)[entry].item<double>(), slope, 1e-8);
  }
}

}  // namespace
}  // namespace fusegrid::sinkhorn_test
