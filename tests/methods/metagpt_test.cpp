#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/line_zoo.h"
#include "support/test_zoo.h"

namespace fusegrid::metagpt_test {
namespace {

// The formula itself in float64, whole model at once.
TEST(Metagpt, follows_its_formula) {
  const TestZoo zoo = golden_zoo();
  std::vector<double> squares(zoo.experts.size(), 0.0);
  double total = 0;
  for (size_t i = 0; i < squares.size(); ++i) {
    for (const auto& [name, base] : zoo.base) {
      squares[i] += (zoo.experts[i].at(name) - base).to(at::kDouble).square().sum().item<double>();
    }
    total += squares[i];
  }
  Weights expected;
  for (const auto& [name, base] : zoo.base) {
    expected[name] = base.to(at::kDouble);
    for (size_t i = 0; i < squares.size(); ++i) {
      expected[name] += (zoo.experts[i].at(name) - base).to(at::kDouble) * (0.7 * squares[i] / total);
    }
  }
  expect_close(zoo.fuse("metagpt{scale=0.7}").weights, expected, 1.2e-7);
}

TEST(Metagpt, weighs_by_squared_norms) {
  const TestZoo zoo = line_zoo({{3, 0, 0}, {0, 0, 1}});
  expect_line(merged_task_vector(zoo, "metagpt"), {2.7, 0, 0.1});
}

TEST(Metagpt, of_equal_norms_is_the_average_and_of_one_expert_the_expert) {
  const TestZoo equal = line_zoo({{2, 0, 1}, {0, 2, -1}});
  expect_line(merged_task_vector(equal, "metagpt"), {1, 1, 0});
  const TestZoo one = random_zoo(1);
  expect_close(one.fuse("metagpt").weights, one.experts[0], 1.5e-7);
}

}  // namespace
}  // namespace fusegrid::metagpt_test
