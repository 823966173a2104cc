#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include "methods/planted.h"
#include "support/golden.h"

namespace fusegrid::fr_merging_test {
namespace {

TEST(FrMerging, equals_its_definition) {
  const TestZoo zoo = golden_zoo();
  expect_includes(zoo.fuse("fr_merging{scale=0.7}").weights, read_golden("fr_merging__default").tensors,
                  1e-6);
  expect_includes(zoo.fuse("fr_merging{scale=0.7,radius=0.4,align=false}").weights,
                  read_golden("fr_merging__radius04").tensors, 1e-6);
}

TEST(FrMerging, of_all_frequencies_is_task_arithmetic_of_the_layers) {
  const TestZoo zoo = random_zoo(2);
  const std::string layer = "vision_model.encoder.layers.0.mlp.fc1.weight";
  expect_close(zoo.fuse("fr_merging{radius=100,align=false}").weights.at(layer),
               zoo.fuse("task_arithmetic{scale=0.3}").weights.at(layer), 1e-6);
}

// A constant is the lowest frequency, one that changes its sign from entry to entry the highest.
TEST(FrMerging, keeps_high_frequencies_and_drops_low_ones) {
  at::Tensor signs = at::ones({8, 8});
  for (int64_t i = 0; i < 64; ++i) {
    signs[i / 8][i % 8] = (i / 8 + i % 8) % 2 == 0 ? 1 : -1;
  }
  const TestZoo zoo = matrix_zoo({signs * 2 + 5});
  expect_close(zoo.fuse("fr_merging{scale=1}").weights.at("fc.weight"), signs * 2, 1e-5);
}

TEST(FrMerging, makes_tasks_equally_large) {
  const at::Tensor tau = random_matrix(6, 8, 6);
  const Weights merged = matrix_zoo({tau, tau * 0.25}).fuse("fr_merging{scale=1,radius=100}").weights;
  expect_close(merged.at("fc.weight"), tau * 2, 1e-5);
}

}  // namespace
}  // namespace fusegrid::fr_merging_test
