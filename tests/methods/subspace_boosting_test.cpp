#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_svd.h>
#include <gtest/gtest.h>

#include "fusion/method.h"
#include "methods/planted.h"
#include "support/golden.h"

namespace fusegrid::subspace_boosting_test {
namespace {

TEST(SubspaceBoosting, equals_its_definition) {
  expect_includes(golden_zoo().fuse("subspace_boosting{beta=0.5}").weights,
                  read_golden("subspace_boosting__beta05").tensors, 1e-6);
}

TEST(SubspaceBoosting, raises_small_singular_values_to_the_one_that_reaches_beta) {
  const at::Tensor tau = random_matrix(6, 5, 7);
  const auto values = [&](const std::string& call) {
    const at::Tensor moved = matrix_zoo({tau}).fuse(call).weights.at("fc.weight");
    return std::get<1>(at::linalg_svd(moved.to(at::kDouble)));
  };
  const at::Tensor plain = values("task_arithmetic{scale=1}");
  const double fraction = ((plain[0] + plain[1]) / plain.sum()).item<double>();
  const at::Tensor boosted =
      values("subspace_boosting{scale=1,beta=" + std::to_string(fraction - 0.01) + "}");
  at::Tensor expected = plain.clone();
  expected.narrow(0, 1, 4).fill_(plain[1].item<double>());
  expect_close(boosted, expected, 1e-5);
}

TEST(SubspaceBoosting, of_beta_one_changes_nothing) {
  const TestZoo zoo = random_zoo(3);
  expect_close(zoo.fuse("subspace_boosting{beta=1}").weights, zoo.fuse("task_arithmetic").weights, 1e-6);
}

TEST(SubspaceBoosting, goes_on_from_every_base_that_it_names) {
  const TestZoo zoo = random_zoo(2);
  for (const std::string base : {"task_arithmetic", "ties", "trimmed_task_arithmetic", "consensus_ta"}) {
    ASSERT_TRUE(method_registry().at(base).direction) << base;
    expect_close(zoo.fuse("subspace_boosting{beta=1,scale=1,base=" + base + "}").weights,
                 zoo.fuse(base + "{scale=1}").weights, 1e-6);
  }
}

}  // namespace
}  // namespace fusegrid::subspace_boosting_test
