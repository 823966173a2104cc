#include <cmath>

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "fusion/fused_model.h"
#include "methods/planted.h"
#include "support/golden.h"

namespace fusegrid::opcm_test {
namespace {

TEST(Opcm, equals_fusion_bench) {
  TestZoo zoo = golden_zoo();
  for (Weights& expert : zoo.experts) {  // the original skips this tensor
    expert.at("vision_model.embeddings.class_embedding") =
        zoo.base.at("vision_model.embeddings.class_embedding");
  }
  expect_close(zoo.fuse("opcm{alpha=0.5}").weights, read_golden("opcm__alpha05").tensors, 1.2e-7);
  expect_close(zoo.fuse("opcm{alpha=0.2}").weights, read_golden("opcm__alpha02").tensors, 1.2e-7);
}

TEST(Opcm, adds_orthogonal_experts_whole_and_keeps_their_average_length) {
  const auto taus = orthogonal_taus(3, 6, 8);
  const Weights merged = matrix_zoo(taus).fuse("opcm").weights;
  expect_close(merged.at("fc.weight"), (taus[0] + taus[1] + taus[2]) / std::sqrt(3.0), 1e-6);
}

// An expert that lies in the main directions of the one before adds nothing.
TEST(Opcm, of_equal_experts_is_that_expert) {
  const at::Tensor tau = orthogonal_taus(1, 4, 5)[0];
  expect_close(matrix_zoo({tau, tau, tau}).fuse("opcm{alpha=1}").weights.at("fc.weight"), tau, 1e-6);
}

TEST(Opcm, takes_the_experts_in_any_order) {
  const TestZoo zoo = random_zoo(3);
  TestZoo turned = zoo;
  turned.tasks = {zoo.tasks[2], zoo.tasks[0], zoo.tasks[1]};
  turned.experts = {zoo.experts[2], zoo.experts[0], zoo.experts[1]};
  const Merged ordered = zoo.fuse("opcm{order=2:0:1}");
  EXPECT_EQ(digest(ordered.weights), digest(turned.fuse("opcm").weights));
  EXPECT_EQ(ordered.facts.at("order"), "task2 task0 task1");
  EXPECT_THROW(zoo.fuse("opcm{order=0:0:1}"), ConfigError);
}

}  // namespace
}  // namespace fusegrid::opcm_test
