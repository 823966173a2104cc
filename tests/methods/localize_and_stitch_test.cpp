#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "methods/planted.h"
#include "support/golden.h"

namespace fusegrid::localize_and_stitch_test {
namespace {

TEST(LocalizeAndStitch, equals_its_definition) {
  expect_includes(golden_zoo().fuse("localize_and_stitch{density=0.3}").weights,
                  read_golden("localize_and_stitch__density03").tensors, 2e-7);
}

TEST(LocalizeAndStitch, adds_the_largest_entries_and_averages_where_they_meet) {
  const at::Tensor first = at::tensor({4.0F, 3.0F, 2.0F, 0.5F}).view({2, 2});
  const at::Tensor second = at::tensor({6.0F, 0.1F, 0.2F, 7.0F}).view({2, 2});
  // larger than the third largest: two of each
  const Weights merged = matrix_zoo({first, second}).fuse("localize_and_stitch{density=0.75}").weights;
  expect_close(merged.at("fc.weight"), at::tensor({5.0F, 3.0F, 0.0F, 7.0F}).view({2, 2}), 0);
}

TEST(LocalizeAndStitch, of_everything_is_the_average) {
  const TestZoo zoo = random_zoo(3);
  expect_close(zoo.fuse("localize_and_stitch{density=1}").weights, zoo.fuse("simple_average").weights, 2e-7);
}

}  // namespace
}  // namespace fusegrid::localize_and_stitch_test
