#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/line_zoo.h"
#include "support/test_zoo.h"

namespace fusegrid::nuslerp_test {
namespace {

TEST(Nuslerp, equals_mergekit) {
  const TestZoo zoo = golden_zoo().first(2);
  for (const std::string unit : {"tensor", "rows", "columns"}) {
    expect_golden(zoo, "nuslerp{t=0.3,unit=" + unit + "}", "nuslerp__mergekit_" + unit, 1.2e-7);
  }
  expect_golden(zoo, "nuslerp{t=0.3,arc=weights}", "nuslerp__mergekit_weights", 1.2e-7);
}

TEST(Nuslerp, of_weights_is_slerp_without_its_threshold) {
  const TestZoo zoo = random_zoo(2);
  expect_close(zoo.fuse("nuslerp{t=0.3,arc=weights}").weights, zoo.fuse("slerp{t=0.3,threshold=1}").weights,
               3e-7);
}

TEST(Nuslerp, ends_at_its_ends) {
  const TestZoo zoo = random_zoo(2);
  for (const std::string unit : {"tensor", "rows", "columns"}) {
    expect_close(zoo.fuse("nuslerp{t=0,unit=" + unit + "}").weights, zoo.experts[0], 2e-7);
    expect_close(zoo.fuse("nuslerp{t=1,unit=" + unit + "}").weights, zoo.experts[1], 2e-7);
  }
}

// Task vectors of equal length at a right angle: the arc keeps the length. Rows (or columns) that are parallel go
// straight.
TEST(Nuslerp, turns_around_the_base) {
  TestZoo zoo = random_zoo(2);
  zoo.base = {{"w", at::zeros({2, 2}) + 0.5}};
  zoo.experts[0] = {{"w", zoo.base.at("w") + at::tensor({3.0F, 0.0F, 2.0F, 0.0F}).view({2, 2})}};
  zoo.experts[1] = {{"w", zoo.base.at("w") + at::tensor({0.0F, 3.0F, 4.0F, 0.0F}).view({2, 2})}};
  const at::Tensor rows = merged_task_vector(zoo, "nuslerp{unit=rows}");
  const double half = 3 * std::sqrt(0.5);
  expect_line(rows.reshape({-1}), {half, half, 3, 0});
  const at::Tensor columns = merged_task_vector(zoo, "nuslerp{unit=columns}");
  EXPECT_GT((rows - columns).abs().max().item<double>(), 0.1);
}

TEST(Nuslerp, of_opposite_task_vectors_is_linear_and_finite) {
  const TestZoo zoo = line_zoo({{1, 2}, {-1, -2}});
  expect_line(merged_task_vector(zoo, "nuslerp{t=0.25}"), {0.5, 1});
}

}  // namespace
}  // namespace fusegrid::nuslerp_test
