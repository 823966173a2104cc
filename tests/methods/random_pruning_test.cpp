#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "methods/planted.h"
#include "support/golden.h"

namespace fusegrid::random_pruning_test {
namespace {

TEST(RandomPruning, zeroes_the_same_number_of_entries_in_every_row) {
  const TestZoo zoo = matrix_zoo({random_matrix(3, 40, 10)});
  const at::Tensor weight = zoo.fuse("random_pruning{ratio=0.3}").weights.at("task0/fc.weight");
  EXPECT_TRUE((weight != 0).sum(1).eq(7).all().item<bool>());
  const at::Tensor kept = weight != 0;
  expect_close(weight, zoo.experts[0].at("fc.weight") * kept, 0);
  // every column loses some: within 4 standard deviations of 0.3 * 40
  const at::Tensor lost = (weight == 0).sum(0);
  EXPECT_GE(lost.min().item<int64_t>(), 1);
  EXPECT_LE(lost.max().item<int64_t>(), 24);
}

TEST(RandomPruning, draws_for_each_task_and_seed_anew) {
  const at::Tensor same = random_matrix(3, 8, 10);
  TestZoo zoo = matrix_zoo({same, same});
  const Weights once = zoo.fuse("random_pruning").weights;
  EXPECT_FALSE(once.at("task0/fc.weight").equal(once.at("task1/fc.weight")));
  zoo.seed = 5;
  EXPECT_FALSE(zoo.fuse("random_pruning").weights.at("task0/fc.weight").equal(once.at("task0/fc.weight")));
}

}  // namespace
}  // namespace fusegrid::random_pruning_test
