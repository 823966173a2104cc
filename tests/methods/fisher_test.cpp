#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/stack.h>
#include <gtest/gtest.h>

#include "fusion/fusion_input.h"
#include "support/golden.h"
#include "support/table_model.h"

namespace fusegrid::fisher_test {
namespace {

constexpr const char* kDefaults = "fisher{examples=256,batch=32,variant=batch_squared}";

// Puts `fisher` where the method looks for the diagonal of expert `index`, so that the merging rule is tested
// alone. (If the key were wrong, the method would ask for data that the zoo does not have.)
void put_fisher(const TestZoo& zoo, size_t index, const Weights& fisher) {
  const std::string key =
      fisher_key(256, 32, "batch_squared", zoo.tasks[index], zoo.expert_on_data_key(index));
  zoo.cache->get(key, StatisticsCache::Keep::kMemory, [&] { return fisher; });
}

Weights constant(const Weights& like, double value) {
  Weights filled;
  for (const auto& [name, tensor] : like) {
    if (tensor.is_floating_point()) {
      filled.emplace(name, at::full_like(tensor, value));
    }
  }
  return filled;
}

TEST(Fisher, merges_as_fusion_bench_does) {
  const Golden fishers = read_golden("inputs__fisher");
  const TestZoo zoo = golden_zoo();
  for (size_t i = 0; i < 4; ++i) {
    put_fisher(zoo, i, as_float(fishers.under(zoo.tasks[i])));
  }
  for (const std::string normalize : {"true", "false"}) {
    Weights expected = read_golden(normalize == "true" ? "fisher__normalized" : "fisher__raw").under("");
    expected.erase("fisher_norms");
    expect_close(zoo.fuse("fisher{normalize=" + normalize + "}").weights, expected, 5e-7);
  }
}

// Statistics and merge on the original's small classifier: logits = fc2(relu(fc1(x))), batches of five.
TEST(Fisher, equals_fusion_bench_from_the_data_on) {
  const Golden golden = read_golden("fisher__from_batches");
  const at::Tensor rows =
      at::stack({golden.tensors.at("batches/expert0"), golden.tensors.at("batches/expert1")});
  TestZoo zoo = table_zoo({rows.reshape({30, 6}).to(at::kFloat),
                           {},
                           [](const Weights& weights, const at::Tensor& x, const Pass& pass) {
                             return lifted(two_layers(weights, x, pass));
                           }});
  for (int64_t i = 0; i < 2; ++i) {
    const std::string task = "expert" + std::to_string(i);
    zoo.tasks.push_back(task);
    zoo.experts.push_back(as_float(golden.under(task)));
    zoo.network->readouts[task] = lifted_readout(at::eye(4));
    std::vector<int64_t> own(15);
    std::iota(own.begin(), own.end(), 15 * i);
    zoo.data.set(task, "train", images_of_rows(own));
  }
  zoo.with_needs({Need::kTrainInputs, Need::kGradients}, [&](const FusionInput& in) {
    for (size_t i = 0; i < 2; ++i) {
      expect_close(*in.fisher(i, 15, 5, "batch_squared"), golden.under("fisher/" + zoo.tasks[i]), 2e-5);
    }
  });
  expect_close(zoo.fuse("fisher{examples=15,batch=5}").weights, golden.under("merged"), 2e-5);
}

TEST(Fisher, of_equal_diagonals_or_none_is_the_average) {
  for (const double value : {0.0, 0.5}) {
    const TestZoo zoo = random_zoo(3);
    for (size_t i = 0; i < 3; ++i) {
      put_fisher(zoo, i, constant(zoo.base, value));
    }
    expect_close(zoo.fuse(kDefaults).weights, zoo.fuse("simple_average").weights, 3e-7);
  }
}

TEST(Fisher, follows_the_only_expert_that_knows_anything) {
  const TestZoo zoo = random_zoo(2);
  put_fisher(zoo, 0, constant(zoo.base, 1.0));
  put_fisher(zoo, 1, constant(zoo.base, 0.0));
  expect_close(zoo.fuse("fisher{normalize=false,floor=1e-20}").weights, zoo.experts[0], 1e-7);
}

TEST(Fisher, does_not_mind_the_size_of_an_experts_gradients_when_it_normalises) {
  TestZoo zoo = random_zoo(2);
  const Weights fisher = constant(zoo.base, 1.0);
  put_fisher(zoo, 0, fisher);
  put_fisher(zoo, 1, constant(zoo.base, 100.0));
  expect_close(zoo.fuse("fisher{floor=1e-20}").weights, zoo.fuse("simple_average").weights, 3e-7);
  Weights tilted = zoo.fuse("fisher{floor=1e-20,normalize=false}").weights;
  expect_close(tilted, zoo.fuse("weighted_average{weights=1:100}").weights, 3e-7);
}

TEST(Fisher, of_one_expert_is_that_expert) {
  const TestZoo zoo = random_zoo(1);
  expect_close(zoo.fuse("fisher{examples=8,batch=4}").weights, zoo.experts[0], 2e-7);
}

TEST(Fisher, variants_differ) {
  const TestZoo zoo = random_zoo(2);
  EXPECT_NE(digest(zoo.fuse("fisher{examples=8,variant=exact}").weights),
            digest(zoo.fuse("fisher{examples=8,variant=batch_squared}").weights));
}

}  // namespace
}  // namespace fusegrid::fisher_test
