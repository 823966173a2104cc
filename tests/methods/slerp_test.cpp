#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::slerp_test {
namespace {

TestZoo pair_zoo(const at::Tensor& a, const at::Tensor& b) {
  TestZoo zoo = random_zoo(2);
  zoo.base = {{"w", at::zeros_like(a)}};
  zoo.experts = {{{"w", a}}, {{"w", b}}};
  return zoo;
}

double length(const at::Tensor& tensor) {
  return tensor.to(at::kDouble).norm().item<double>();
}

TEST(Slerp, equals_fusion_bench_and_mergekit) {
  const TestZoo zoo = golden_zoo();
  for (const std::string original : {"fusionbench", "mergekit"}) {
    for (const std::string name : {"experts01_t03", "experts01_t05", "base_expert0_t03"}) {
      const Golden golden = read_golden("slerp__" + original + "_" + name);
      TestZoo pair = zoo.first(2);
      if (golden.metadata.at("first") == "base") {
        pair.experts = {zoo.base, zoo.experts[0]};
      }
      const std::string t = name.ends_with("t05") ? "0.5" : "0.3";
      expect_close(pair.fuse("slerp{t=" + t + "}").weights, golden.tensors, 3e-7);
    }
  }
}

TEST(Slerp, ends_at_its_ends) {
  const TestZoo zoo = random_zoo(2);
  EXPECT_EQ(digest(zoo.fuse("slerp{t=0}").weights), digest(zoo.experts[0]));
  expect_close(zoo.fuse("slerp{t=1}").weights, zoo.experts[1], 1e-7);
}

TEST(Slerp, of_equal_norms_keeps_the_norm) {
  const TestZoo zoo = pair_zoo(at::tensor({3.0F, 4.0F, 0.0F}), at::tensor({0.0F, 4.0F, -3.0F}));
  for (const std::string t : {"0.2", "0.5", "0.9"}) {
    EXPECT_NEAR(length(zoo.fuse("slerp{t=" + t + "}").weights.at("w")), 5, 1e-6) << t;
  }
}

TEST(Slerp, of_equal_models_is_that_model_at_any_threshold) {
  const at::Tensor a = at::tensor({3e9F, 4e9F});
  const TestZoo zoo = pair_zoo(a, a.clone());
  for (const std::string threshold : {"0.9995", "1"}) {
    const at::Tensor merged = zoo.fuse("slerp{t=0.3,threshold=" + threshold + "}").weights.at("w");
    expect_close(merged / 1e9, a / 1e9, 1e-6);
  }
}

TEST(Slerp, of_opposite_models_is_linear_and_finite) {
  const at::Tensor a = at::tensor({1.0F, 2.0F});
  expect_close(pair_zoo(a, -a).fuse("slerp{t=0.25}").weights.at("w"), a * 0.5, 1e-6);
}

TEST(Slerp, is_continuous_at_the_threshold) {
  const at::Tensor a = at::tensor({1.0F, 0.0F});
  const at::Tensor b = at::tensor({0.9995F, 0.0316F});  // cosine just below 0.9995
  const TestZoo zoo = pair_zoo(a, b);
  expect_close(zoo.fuse("slerp{threshold=0.999}").weights.at("w"),
               zoo.fuse("slerp{threshold=0.9999}").weights.at("w"), 5e-4);
}

}  // namespace
}  // namespace fusegrid::slerp_test
