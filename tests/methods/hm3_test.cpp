#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>

#include "core/errors.h"
#include "fusion/fusion_input.h"
#include "support/golden.h"
#include "support/table_model.h"

namespace fusegrid::hm3_test {
namespace {

using testing::HasSubstr;

Weights head_of(const Merged& merged, const std::string& task) {
  return merged.model->readouts.at(task)->weights();
}

double entropy(const at::Tensor& logits) {
  const at::Tensor p = at::softmax(logits.to(at::kDouble), 1);
  return -(p * p.log()).sum(1).mean().item<double>();
}

TEST(Hm3, of_task_arithmetic_with_scale_1_keeps_every_experts_head) {
  const TestZoo zoo = affine_zoo(3);
  const Merged merged = zoo.fuse("hm3{method=task_arithmetic,scale=1}");
  EXPECT_EQ(merged.facts.at("labels"), "12") << "3 + 4 + 5";
  for (const std::string& task : zoo.tasks) {
    const Weights own = zoo.network->readout(task).weights();
    EXPECT_TRUE(head_of(merged, task).at("weight").equal(own.at("weight"))) << task;
    EXPECT_TRUE(head_of(merged, task).at("bias").equal(own.at("bias"))) << task;
  }
  expect_close(merged.weights, zoo.fuse("task_arithmetic{scale=1}").weights, 1e-6);
}

TEST(Hm3, of_an_average_answers_as_it_does_under_the_experts_heads_but_less_surely) {
  const TestZoo zoo = affine_zoo(3);
  const Merged merged = zoo.fuse("hm3{method=simple_average}");
  const Merged average = zoo.fuse("simple_average");
  expect_close(merged.weights, average.weights, 1e-7);
  for (const std::string& task : zoo.tasks) {
    const at::Tensor shrunk = zoo.logits(merged, task);
    const at::Tensor whole = zoo.logits(average, task);
    expect_close(shrunk * 3, whole, 1e-5);
    EXPECT_TRUE(shrunk.argmax(1).equal(whole.argmax(1))) << task;
    EXPECT_GT(entropy(shrunk), entropy(whole)) << task;
  }
}

// By hand. Of the twelve entries of body and head TIES keeps those that are at least the ninth smallest: of a all but
// .1 and 1, of b all but .2. Signs are elected where both have an entry, in the body alone.
TEST(Hm3, of_ties_trims_and_elects_over_models_and_heads_together) {
  TestZoo zoo = table_zoo(
      {at::tensor({{1.0F}}), {}, [](const Weights&, const at::Tensor& x, const Pass&) { return x; }});
  zoo.tasks = {"a", "b"};
  zoo.base = {{"w", at::zeros({4})}};
  zoo.experts = {{{"w", at::tensor({4.0F, -3.0F, 1.0F, 0.0F})}},
                 {{"w", at::tensor({-2.0F, 5.0F, 0.5F, 0.0F})}}};
  zoo.network->readouts["a"] =
      affine_readout(at::tensor({2.0F, -6.0F}).view({2, 1}), at::tensor({0.0F, 0.1F}), Pooling::kFirst);
  zoo.network->readouts["b"] =
      affine_readout(at::tensor({7.0F, 0.2F}).view({2, 1}), at::zeros({2}), Pooling::kFirst);
  const Merged merged = zoo.fuse("hm3{method=ties,density=0.25,scale=1,merge=mean}");
  const auto expect = [](const at::Tensor& seen, const at::Tensor& wanted) { expect_close(seen, wanted, 0); };
  expect(merged.weights.at("w"), at::tensor({4.0F, 5.0F, 0.5F, 0.0F}));
  expect(head_of(merged, "a").at("weight"), at::tensor({2.0F, -6.0F}).view({2, 1}));
  expect(head_of(merged, "a").at("bias"), at::zeros({2}));
  expect(head_of(merged, "b").at("weight"), at::tensor({7.0F, 0.0F}).view({2, 1}));
  expect(head_of(merged, "b").at("bias"), at::zeros({2}));
}

TEST(Hm3, of_one_expert_is_that_expert_or_merges_it_with_its_base) {
  const TestZoo zoo = affine_zoo(1);
  const at::Tensor own = zoo.logits_of(zoo.experts[0], "task0");
  expect_close(zoo.logits(zoo.fuse("hm3{method=ties,density=1,scale=1}"), "task0"), own, 1e-5);
  const Weights sparser = zoo.fuse("hm3{method=ties,density=0.2,scale=1}").weights;
  int64_t at_base = 0;
  for (const auto& [name, tensor] : sparser) {
    at_base += (tensor == zoo.base.at(name)).sum().item<int64_t>();
  }
  EXPECT_GT(at_base, num_parameters(zoo.base) / 2);
}

TEST(Hm3, refuses_heads_that_are_not_affine_and_parameters_that_the_method_has_not) {
  EXPECT_THAT([] { random_zoo(2).fuse("hm3"); },
              testing::ThrowsMessage<ConfigError>(
                  HasSubstr("method 'hm3' needs affine heads, which task 'task0' has not")));
  const Method& method = method_registry().at("hm3");
  EXPECT_THAT(
      [&] {
        method.check({{"method", "simple_average"}, {"scale", "1"}}, method.card, 2);
      },
      testing::ThrowsMessage<ConfigError>(
          HasSubstr("is given 'scale', but method 'simple_average' has no such parameter")));
}

}  // namespace
}  // namespace fusegrid::hm3_test
