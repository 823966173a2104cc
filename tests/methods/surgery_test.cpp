#include <cmath>

#include <ATen/ops/matmul.h>
#include <ATen/ops/sign.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>

#include "core/philox.h"
#include "methods/surgery_checks.h"
#include "models/network.h"

namespace fusegrid::surgery_test {
namespace {

// The features of all test inputs of a task, float64.
at::Tensor features_of(const TestZoo& zoo, const Weights& weights, const std::string& task) {
  return zoo.network->features(weights, zoo.network->ready(zoo.data.examples(task, "test", -1).inputs))
      .to(at::kDouble);
}

at::Tensor adapted(const at::Tensor& z, const at::Tensor& down, const at::Tensor& up) {
  return z - at::matmul(at::matmul(z, down.t()).clamp_min(0), up.t());
}

// Adam in float64, written out.
struct ByHand {
  at::Tensor value, first, second;
  explicit ByHand(const at::Tensor& start)
      : value(start.to(at::kDouble)), first(at::zeros_like(value)), second(at::zeros_like(value)) {}
  void step(const at::Tensor& gradient, double lr, int t) {
    first = first * 0.9 + gradient * 0.1;
    second = second * 0.999 + gradient.square() * 0.001;
    value = value - first / (1 - std::pow(0.9, t)) / ((second / (1 - std::pow(0.999, t))).sqrt() + 1e-8) * lr;
  }
};

struct Gradients {
  at::Tensor down, up;
};

// Of mean |z - up relu(down z) - target|, by the chain rule.
Gradients gradients(const at::Tensor& z, const at::Tensor& target, const at::Tensor& down,
                    const at::Tensor& up) {
  const at::Tensor inner = at::matmul(z, down.t());
  const at::Tensor hidden = inner.clamp_min(0);
  const at::Tensor outer = at::sign(adapted(z, down, up) - target) / static_cast<double>(z.numel());
  const at::Tensor back = at::matmul(-outer, up) * (inner > 0);
  return {at::matmul(back.t(), z), at::matmul(-outer.t(), hidden)};
}

TEST(Surgery, gradients_by_hand_are_finite_differences) {
  const TestZoo zoo = random_zoo(2, 0.3);
  const at::Tensor z = features_of(zoo, zoo.base, "task0");
  const at::Tensor target = features_of(zoo, zoo.experts[0], "task0");
  const at::Tensor down = normal(1, 0, 0, 3 * z.size(1)).view({3, z.size(1)}).to(at::kDouble);
  const at::Tensor up = normal(2, 0, 0, 3 * z.size(1)).view({z.size(1), 3}).to(at::kDouble) * 0.1;
  const Gradients exact = gradients(z, target, down, up);
  const auto loss = [&](const at::Tensor& d, const at::Tensor& u) {
    return (adapted(z, d, u) - target).abs().mean().item<double>();
  };
  constexpr double kStep = 1e-7;
  for (int64_t i = 0; i < 3; ++i) {
    at::Tensor moved = down.clone();
    moved[i][i] += kStep;
    EXPECT_NEAR((loss(moved, up) - loss(down, up)) / kStep, exact.down[i][i].item<double>(), 1e-6);
    moved = up.clone();
    moved[i][i] += kStep;
    EXPECT_NEAR((loss(down, moved) - loss(down, up)) / kStep, exact.up[i][i].item<double>(), 1e-6);
  }
}

// Two epochs of 5 batches, the second begun.
TEST(Surgery, trains_as_its_formula_written_out) {
  const TestZoo zoo = random_zoo(2, 0.3);
  const Merged start = zoo.fuse("surgery{steps=0,rank=3}");
  const Merged trained = zoo.fuse("surgery{steps=7,batch=4,rank=3,lr=0.01}");
  const Weights merged = merged_part(start);
  for (size_t i = 0; i < 2; ++i) {
    const std::string& task = zoo.tasks[i];
    const at::Tensor z = features_of(zoo, merged, task);
    const at::Tensor target = features_of(zoo, zoo.experts[i], task);
    ByHand down(start.weights.at("adapter/" + task + "/down"));
    ByHand up(start.weights.at("adapter/" + task + "/up"));
    for (int step = 0; step < 7; ++step) {
      const auto order = permutation(derive_key(zoo.seed, "surgery/batches/" + task), step / 5, 20);
      const auto begin = order.begin() + step % 5 * 4;
      const at::Tensor rows = at::tensor(std::vector<int64_t>(begin, begin + 4), at::kLong);
      const Gradients g =
          gradients(z.index_select(0, rows), target.index_select(0, rows), down.value, up.value);
      down.step(g.down, 0.01, step + 1);
      up.step(g.up, 0.01, step + 1);
    }
    expect_close(trained.weights.at("adapter/" + task + "/down"), down.value, 5e-6);
    expect_close(trained.weights.at("adapter/" + task + "/up"), up.value, 5e-6);
  }
}

TEST(Surgery, brings_the_features_nearer_to_the_experts) {
  const TestZoo zoo = random_zoo(2, 0.3);
  const Merged trained = zoo.fuse("surgery{steps=60,batch=20,rank=4,lr=0.01}");
  const at::Tensor z = features_of(zoo, merged_part(trained), "task1");
  const at::Tensor target = features_of(zoo, zoo.experts[1], "task1");
  const at::Tensor moved = adapted(z, trained.weights.at("adapter/task1/down").to(at::kDouble),
                                   trained.weights.at("adapter/task1/up").to(at::kDouble));
  EXPECT_LT((moved - target).abs().mean().item<double>(), 0.8 * (z - target).abs().mean().item<double>());
}

TEST(Surgery, without_steps_changes_nothing) {
  expect_surgery_without_steps_changes_nothing("surgery");
}

TEST(Surgery, leaves_the_merged_model_alone) {
  expect_surgery_leaves_the_merged_model_alone("surgery");
}

TEST(Surgery, of_a_task_sees_its_inputs_alone) {
  expect_surgery_of_a_task_to_see_its_inputs_alone("surgery");
}

TEST(Surgery, has_no_answer_to_unseen_tasks) {
  expect_surgery_has_no_answer_to_unseen_tasks("surgery");
}

TEST(Surgery, stores_two_small_matrices_a_task) {
  const TestZoo zoo = random_zoo(3);
  const Merged merged = zoo.fuse("surgery{steps=0,rank=5}");
  EXPECT_DOUBLE_EQ(merged.stored_parameters, static_cast<double>(numbers_in(zoo.base) + 3 * 2 * 5 * 8));
}

}  // namespace
}  // namespace fusegrid::surgery_test
