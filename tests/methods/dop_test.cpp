#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/matmul.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "methods/planted.h"
#include "support/golden.h"

namespace fusegrid::dop_test {
namespace {

TEST(Dop, equals_fusion_bench) {
  TestZoo zoo = golden_zoo();
  for (Weights& expert : zoo.experts) {  // the original skips this tensor
    expert.at("vision_model.embeddings.class_embedding") =
        zoo.base.at("vision_model.embeddings.class_embedding");
  }
  expect_close(zoo.fuse("dop").weights, read_golden("dop__default").tensors, 1.2e-7);
  expect_close(zoo.fuse("dop{steps=20,lr=0.001,alpha=0.6,beta=0.5}").weights,
               read_golden("dop__smoothed").tensors, 1.2e-7);
}

TEST(Dop, without_steps_averages_pairwise) {
  const std::vector<at::Tensor> taus{random_matrix(3, 4, 5), random_matrix(4, 4, 5), random_matrix(5, 4, 5)};
  const Weights merged = matrix_zoo(taus).fuse("dop{steps=0}").weights;
  expect_close(merged.at("fc.weight"), taus[0] / 4 + taus[1] / 4 + taus[2] / 2, 1e-6);
}

// Distance to `target` in its leading three directions of either side: what its half of the loss sees.
double seen_distance(const at::Tensor& merged, const at::Tensor& target) {
  const auto [u, s, vh] = at::linalg_svd(target, false);
  const at::Tensor apart = merged - target;
  const at::Tensor left = at::matmul(u.narrow(1, 0, 3).t(), apart) * s.narrow(0, 0, 3).unsqueeze(1);
  const at::Tensor right = at::matmul(apart, vh.narrow(0, 0, 3).t()) * s.narrow(0, 0, 3);
  return (left.square().sum() + right.square().sum()).item<double>();
}

TEST(Dop, goes_where_alpha_points) {
  const std::vector<at::Tensor> taus{random_matrix(3, 4, 5), random_matrix(4, 4, 5)};
  const at::Tensor between = (taus[0] + taus[1]) / 2;
  for (const auto& [alpha, side] : {std::pair{"1", size_t{0}}, {"0", size_t{1}}}) {
    const std::string call = std::string("dop{beta=1,lr=0.01,steps=500,alpha=") + alpha + "}";
    const at::Tensor merged = matrix_zoo(taus).fuse(call).weights.at("fc.weight");
    EXPECT_LT(seen_distance(merged, taus[side]), 0.01 * seen_distance(between, taus[side]));
    EXPECT_GT(seen_distance(merged, taus[1 - side]), seen_distance(between, taus[1 - side]));
  }
}

TEST(Dop, of_equal_experts_is_that_expert) {
  const at::Tensor tau = random_matrix(3, 4, 5);
  expect_close(matrix_zoo({tau, tau}).fuse("dop{lr=0.01}").weights.at("fc.weight"), tau, 1e-6);
}

TEST(Dop, takes_the_experts_in_any_order) {
  const TestZoo zoo = random_zoo(3);
  TestZoo turned = zoo;
  turned.experts = {zoo.experts[1], zoo.experts[2], zoo.experts[0]};
  EXPECT_EQ(digest(zoo.fuse("dop{steps=3,order=1:2:0}").weights),
            digest(turned.fuse("dop{steps=3}").weights));
  EXPECT_THROW(zoo.fuse("dop{order=0:1}"), ConfigError);
}

}  // namespace
}  // namespace fusegrid::dop_test
