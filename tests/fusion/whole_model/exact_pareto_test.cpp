#include "fusion/whole_model/exact_pareto.h"

#include <cmath>
#include <fstream>

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/source_folder.h"

namespace fusegrid {
namespace {

using Vector = std::vector<double>;

at::Tensor row_of(const Vector& numbers) {
  return at::tensor(at::ArrayRef<double>(numbers), at::TensorOptions(at::kDouble));
}

// SciPy's solver of the programs that the paper's equations make: tests/golden/make_exact_pareto.py.
TEST(ExactPareto, equals_the_papers_equations) {
  std::ifstream file(source_folder() / "tests/golden/exact_pareto.json");
  const auto cases = nlohmann::json::parse(file);
  ASSERT_EQ(cases.size(), 8U);
  for (const auto& each : cases) {
    std::vector<at::Tensor> rows;
    for (const auto& gradient : each["gradients"]) {
      rows.push_back(row_of(gradient.get<Vector>()));
    }
    const at::Tensor gradients = at::stack(rows);
    const Vector weights =
        exact_pareto_weights(each["losses"].get<Vector>(), at::matmul(gradients, gradients.t()).contiguous(),
                             each["preference"].get<Vector>());
    EXPECT_THAT(weights, testing::Pointwise(testing::DoubleNear(1e-8), each["weights"].get<Vector>()))
        << each.dump();
  }
}

// The two losses of the paper's example, 1 - exp(-|x -+ e|^2): their Pareto optima are the points between -e and e.
class Toy {
 public:
  static constexpr int64_t kDimensions = 4;
  Vector losses(const at::Tensor& x) const { return {loss(x - e_), loss(x + e_)}; }
  at::Tensor gradients(const at::Tensor& x) const {
    return at::stack({(x - e_) * (2 * (1 - loss(x - e_))), (x + e_) * (2 * (1 - loss(x + e_)))});
  }
  const at::Tensor& e() const { return e_; }

 private:
  static double loss(const at::Tensor& apart) { return 1 - std::exp(-apart.square().sum().item<double>()); }
  at::Tensor e_ = at::zeros({kDimensions}, at::kDouble) + 1 / std::sqrt(static_cast<double>(kDimensions));
};

TEST(ExactPareto, leads_to_the_optimum_of_the_preference) {
  const Toy toy;
  for (const Vector& preference : {Vector{0.2, 0.8}, {0.5, 0.5}, {0.7, 0.3}}) {
    at::Tensor x = row_of({0.3, -0.5, 0.2, 0.1});
    for (int step = 0; step < 3000; ++step) {
      const at::Tensor gradients = toy.gradients(x);
      const Vector weights =
          exact_pareto_weights(toy.losses(x), at::matmul(gradients, gradients.t()).contiguous(), preference);
      x = x - at::matmul(row_of(weights), gradients) * 0.02;
    }
    const Vector losses = toy.losses(x);
    EXPECT_NEAR(preference[0] * losses[0] / (preference[1] * losses[1]), 1, 0.05);
    const at::Tensor along = toy.e() * (x * toy.e()).sum();
    EXPECT_LT((x - along).norm().item<double>(), 0.05) << "it lies between both ends";
  }
}

TEST(ExactPareto, of_gradients_that_are_zero_or_a_task_that_does_not_count_is_still_a_weighting) {
  for (const Vector& preference : {Vector{0.5, 0.5}, {1, 0}}) {
    const Vector weights = exact_pareto_weights({1, 2}, at::zeros({2, 2}, at::kDouble), preference);
    EXPECT_NEAR(weights[0] + weights[1], 1, 1e-12);
  }
  const Vector alone = exact_pareto_weights({1, 2}, at::tensor({1.0, -0.5, -0.5, 1.0}).view({2, 2}), {1, 0});
  EXPECT_GT(alone[0], alone[1]);
}

}  // namespace
}  // namespace fusegrid
