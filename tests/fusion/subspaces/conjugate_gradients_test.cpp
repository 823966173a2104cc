#include "fusion/subspaces/conjugate_gradients.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "support/golden.h"

namespace fusegrid::conjugate_gradients_test {
namespace {

at::Tensor random(uint64_t key, int64_t rows, int64_t columns) {
  return normal(key, 0, 0, rows * columns).view({rows, columns}).to(at::kDouble);
}

// W -> W G with a positive definite G that has three distinct eigenvalues: 1 (four times), 3 and 8.
struct System {
  at::Tensor gram;
  at::Tensor x = random(2, 5, 6);
  System() {
    const at::Tensor orthogonal = std::get<0>(at::linalg_qr(random(1, 6, 6)));
    gram = at::matmul(orthogonal * at::tensor({1.0, 1.0, 1.0, 1.0, 3.0, 8.0}, at::kDouble), orthogonal.t());
  }
  at::Tensor operator()(const at::Tensor& w) const { return at::matmul(w, gram); }
};

TEST(ConjugateGradients, end_after_as_many_steps_as_there_are_eigenvalues) {
  const System system;
  const Solution solution =
      conjugate_gradients(system, system(system.x), at::zeros_like(system.x), 100, 1e-10);
  EXPECT_EQ(solution.iterations, 3);
  EXPECT_LE(solution.residual, 1e-10);
  expect_close(solution.x, system.x, 1e-12);
}

TEST(ConjugateGradients, come_nearer_with_every_step_in_the_norm_of_the_system) {
  const System system;
  double before = 1e300;
  for (int64_t steps = 0; steps <= 3; ++steps) {
    const at::Tensor error =
        conjugate_gradients(system, system(system.x), at::zeros_like(system.x), steps, 0).x - system.x;
    const auto energy = (error * system(error)).sum().item<double>();
    EXPECT_LT(energy, before);
    before = energy;
  }
}

TEST(ConjugateGradients, from_the_solution_on_take_no_step) {
  const System system;
  const Solution solution = conjugate_gradients(system, system(system.x), system.x, 100, 1e-12);
  EXPECT_EQ(solution.iterations, 0);
  EXPECT_TRUE(solution.x.equal(system.x));
}

TEST(ConjugateGradients, keep_of_the_start_what_the_system_does_not_see) {
  const at::Tensor gram = at::tensor({2.0, 0.0}, at::kDouble).diag();
  const auto apply = [&](const at::Tensor& w) { return at::matmul(w, gram); };
  const at::Tensor start = at::tensor({5.0, 7.0}, at::kDouble).view({1, 2});
  const Solution solution =
      conjugate_gradients(apply, at::tensor({4.0, 0.0}, at::kDouble).view({1, 2}), start, 10, 0);
  expect_close(solution.x, at::tensor({2.0, 7.0}, at::kDouble).view({1, 2}), 1e-15);
  const at::Tensor nothing = at::zeros_like(start);
  EXPECT_EQ(conjugate_gradients([&](const at::Tensor& w) { return w * 0; }, nothing, start, 10, 0).residual,
            0);
}

}  // namespace
}  // namespace fusegrid::conjugate_gradients_test
