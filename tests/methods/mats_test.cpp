#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "core/text.h"
#include "fusion/fusion_input.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::mats_test {
namespace {

const std::string kAttention = "vision_model.encoder.layers.0.self_attn";

void put(const TestZoo& zoo, const std::string& key, const Weights& value) {
  zoo.cache->get(key, StatisticsCache::Keep::kMemory, [&] { return value; });
}

// The golden zoo with its Gram matrices, one for q, k and v, and gradients' ones that its task vectors make.
TestZoo golden_zoo_with_blocks() {
  const Golden grams = read_golden("inputs__gram");
  TestZoo zoo = golden_zoo();
  for (size_t i = 0; i < zoo.tasks.size(); ++i) {
    Weights gram = grams.under(zoo.tasks[i]);
    gram[kAttention] = gram.at(kAttention + ".q_proj");
    put(zoo, gram_key(256, zoo.tasks[i], zoo.expert_on_data_key(i)), gram);
    Weights gradients;
    for (const Layer& layer : zoo.network->architecture->layers()) {
      const at::Tensor tau =
          (zoo.experts[i].at(layer.weight).to(at::kDouble) - zoo.base.at(layer.weight).to(at::kDouble));
      gradients[layer.name] =
          at::eye(tau.size(0), at::kDouble) + at::matmul(tau, tau.t()) / tau.square().sum();
    }
    put(zoo, gradient_gram_key(256, zoo.tasks[i], zoo.expert_on_data_key(i)), gradients);
  }
  return zoo;
}

double residual_of(const Merged& merged) {
  const std::string& text = merged.facts.at("residual");
  return parse_double(text.substr(0, text.find(' ')), "residual");
}

TEST(Mats, solves_the_dense_system) {
  const TestZoo zoo = golden_zoo_with_blocks();
  for (const std::string blocks : {"gram", "kfac"}) {
    const Merged merged = zoo.fuse("mats{tolerance=1e-12,iterations=500,blocks=" + blocks + "}");
    EXPECT_LE(residual_of(merged), 1e-12);
    for (const auto& [name, expected] : read_golden("mats__" + blocks).tensors) {
      expect_close(merged.weights.at(name), expected, 2e-7);
    }
  }
}

TEST(Mats, of_gram_matrices_is_regmean) {
  const TestZoo zoo = random_zoo(3);
  expect_close(zoo.fuse("mats{blocks=gram,ratio=0.7,tolerance=1e-13,iterations=2000}").weights,
               zoo.fuse("regmean{ratio=0.7,ridge=1e-14}").weights, 1e-5);
  const Weights regmean = zoo.fuse("regmean{ratio=1,ridge=1e-14}").weights;
  for (const std::string init : {"average", "task_arithmetic", "ties", "iso_c"}) {
    expect_close(zoo.fuse("mats{blocks=gram,tolerance=1e-13,iterations=2000,init=" + init + "}").weights,
                 regmean, 1e-5);
  }
}

TEST(Mats, without_iterations_is_where_it_starts_with_other_tensors_averaged) {
  const TestZoo zoo = random_zoo(2);
  const Weights average = zoo.fuse("simple_average").weights;
  const Weights start = zoo.fuse("tsv_m{scale=0.7}").weights;
  const Weights merged = zoo.fuse("mats{init=tsv_m,init_scale=0.7,iterations=0}").weights;
  std::set<std::string> layers;
  for (const Layer& layer : zoo.network->architecture->layers()) {
    layers.insert(layer.weight);
  }
  for (const auto& [name, tensor] : merged) {
    EXPECT_TRUE(tensor.equal((layers.contains(name) ? start : average).at(name))) << name;
  }
}

TEST(Mats, of_equal_experts_is_that_expert_wherever_it_starts) {
  TestZoo zoo = random_zoo(2);
  zoo.experts[1] = zoo.experts[0];
  for (const std::string init : {"average", "pretrained", "task_arithmetic"}) {
    const Merged merged = zoo.fuse("mats{blocks=gram,tolerance=1e-12,iterations=2000,init=" + init + "}");
    expect_close(merged.weights, zoo.experts[0], 2e-5);
  }
}

TEST(Mats, stops_at_its_tolerance_and_says_what_is_left) {
  const TestZoo zoo = random_zoo(3);
  const Merged few = zoo.fuse("mats{iterations=2}");
  const Merged many = zoo.fuse("mats{iterations=60,tolerance=0}");
  EXPECT_GT(residual_of(few), 10 * residual_of(many));
  EXPECT_EQ(few.facts.at("iterations"), "2 at most");
  const Merged enough = zoo.fuse("mats{iterations=2000,tolerance=1e-3}");
  EXPECT_LE(residual_of(enough), 1e-3);
  EXPECT_NE(enough.facts.at("iterations"), "2000 at most");
}

TEST(Mats, of_kfac_counts_what_gradients_see) {
  const TestZoo zoo = random_zoo(2);
  EXPECT_NE(digest(zoo.fuse("mats{ratio=0.5}").weights), digest(zoo.fuse("mats").weights));
  EXPECT_NE(digest(zoo.fuse("mats{blocks=kfac}").weights), digest(zoo.fuse("mats{blocks=gram}").weights));
}

}  // namespace
}  // namespace fusegrid::mats_test
