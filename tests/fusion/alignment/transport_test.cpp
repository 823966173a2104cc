#include "fusion/alignment/transport.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "core/philox.h"
#include "fusion/alignment/assignment.h"
#include "support/golden.h"

namespace fusegrid::transport_test {
namespace {

at::Tensor random_costs(int64_t n, int64_t m) {
  return uniform(5, 0, 0, n * m).view({n, m}).to(at::kDouble);
}

TEST(Transport, between_as_many_units_is_the_best_assignment) {
  const at::Tensor cost = random_costs(7, 7);
  expect_close(exact_transport(cost), matrix_of(best_assignment(-cost), at::kCPU), 0);
}

TEST(Transport, moves_all_masses) {
  for (const auto& [n, m] :
       std::vector<std::pair<int64_t, int64_t>>{{4, 6}, {6, 4}, {3, 5}, {1, 4}, {4, 1}}) {
    const at::Tensor cost = random_costs(n, m);
    for (const at::Tensor& plan : {exact_transport(cost), entropic_transport(cost, 0.2, 10000, 1e-10)}) {
      expect_close(plan.sum(1), at::ones({n}, at::kDouble), 1e-9);
      expect_close(plan.sum(0), at::full({m}, static_cast<double>(n) / static_cast<double>(m), at::kDouble),
                   1e-9);
      EXPECT_GE(plan.min().item<double>(), 0);
    }
  }
}

TEST(Transport, costs_as_little_as_entropic_ones_in_the_limit) {
  const at::Tensor cost = random_costs(4, 6);
  const auto paid = [&](const at::Tensor& plan) { return (plan * cost).sum().item<double>(); };
  const double exact = paid(exact_transport(cost));
  double before = 1e9;
  for (const double temperature : {0.3, 0.03, 0.003}) {
    const double entropic = paid(entropic_transport(cost, temperature, 100000, 1e-11));
    EXPECT_LE(exact, entropic + 1e-9);
    EXPECT_LT(entropic, before);
    before = entropic;
  }
  EXPECT_NEAR(before, exact, 1e-3);
}

TEST(Transport, maps_units_that_stand_for_two) {
  const at::Tensor all = at::ones({4}, at::kBool);
  const at::Tensor two = at::tensor({1, 0, 1, 0}).to(at::kBool);
  // units 0 and 1 of the wide model stand for unit 0 of the narrow one, 2 and 3 for its unit 2
  const at::Tensor cost = at::tensor({0., 0., 1., 1., 1., 1., 0., 0.}).view({2, 4});
  const UnitMap narrowed = map_of_transport(exact_transport(cost), two, all);
  expect_close(narrowed.makes,
               at::tensor({.5, .5, 0., 0., 0., 0., 0., 0., 0., 0., .5, .5, 0., 0., 0., 0.}).view({4, 4}), 0);
  expect_close(narrowed.reads,
               at::tensor({1., 0., 0., 0., 1., 0., 0., 0., 0., 0., 1., 0., 0., 0., 1., 0.}).view({4, 4}), 0);
  const UnitMap widened = map_of_transport(exact_transport(cost.t()), all, two);
  expect_close(widened.makes, narrowed.reads, 0);
  expect_close(widened.reads, narrowed.makes, 0);
}

TEST(Transport, refuses_costs_that_are_no_numbers) {
  EXPECT_THROW(exact_transport(random_costs(2, 3) / 0.), DataError);
}

TEST(Transport, knows_units_that_nothing_makes) {
  const AxisGroup group{.name = "units",
                        .size = 3,
                        .axes = {{"made.weight", 0, true},
                                 {"norm.running_mean", 0, true},
                                 {"norm.bias", 0, true},
                                 {"reads.weight", 1, false}}};
  const Weights weights{{"made.weight", at::tensor({0., 2., 0., 0., 0., 0.}).view({3, 2})},
                        {"norm.running_mean", at::ones({3})},
                        {"norm.bias", at::tensor({0., 0., 3.})},
                        {"reads.weight", at::ones({1, 3})}};
  EXPECT_TRUE(live_units(weights, group).equal(at::tensor({1, 0, 1}).to(at::kBool)));
}

}  // namespace
}  // namespace fusegrid::transport_test
