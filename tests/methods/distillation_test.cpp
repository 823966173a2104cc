#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "fusion/whole_model/labelled_batches.h"
#include "models/network.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::distillation_test {
namespace {

// Mean over tasks of KL(teacher || student) at a temperature, on the inputs of a step.
at::Tensor divergence(const TestZoo& zoo, const Weights& student, bool own, double temperature, int64_t batch,
                      int64_t step) {
  at::Tensor sum;
  for (size_t t = 0; t < zoo.tasks.size(); ++t) {
    const std::string& task = zoo.tasks[t];
    const Inputs inputs = labelled_batch(*zoo.network, zoo.data.examples(task, "train", -1),
                                         derive_key(zoo.seed, "distillation/" + task), batch, step)
                              .inputs;
    at::Tensor logits = zoo.network->output(zoo.experts[own ? t : 0], inputs, task);
    for (size_t i = 1; !own && i < zoo.experts.size(); ++i) {
      logits = logits + zoo.network->output(zoo.experts[i], inputs, task);
    }
    logits = logits / (own ? 1.0 : static_cast<double>(zoo.experts.size()));
    const at::Tensor p = (logits / temperature).softmax(1).detach();
    const at::Tensor q = (zoo.network->output(student, inputs, task) / temperature).softmax(1);
    const at::Tensor of_task = (p * (p.log() - q.log())).sum(1).mean();
    sum = sum.defined() ? sum + of_task : of_task;
  }
  return sum / static_cast<double>(zoo.tasks.size());
}

TEST(Distillation, without_steps_is_the_average) {
  const TestZoo zoo = random_zoo(3, 0.3);
  expect_close(zoo.fuse("distillation{steps=0}").weights, zoo.fuse("simple_average").weights, 0);
}

// By autograd, through the divergence as it is written down.
TEST(Distillation, steps_against_the_gradient_of_the_divergence) {
  const TestZoo zoo = random_zoo(3, 0.4);
  for (const bool own : {false, true}) {
    for (const double temperature : {1.0, 2.0}) {
      Weights student = zoo.fuse("simple_average").weights;
      {
        const at::AutoGradMode with_gradients(true);
        for (auto& [name, tensor] : student) {
          if (tensor.is_floating_point()) {
            tensor = tensor.clone().requires_grad_(true);
          }
        }
        (divergence(zoo, student, own, temperature, 12, 0) * temperature * temperature).backward();
      }
      const Weights stepped =
          zoo.fuse("distillation{steps=1,lr=0.5,batch=12,temperature=" + std::to_string(temperature) +
                   ",teacher=" + (own ? "own" : "ensemble") + "}")
              .weights;
      Weights expected;
      for (const auto& [name, tensor] : student) {
        expected.emplace(name,
                         tensor.grad().defined() ? (tensor - 0.5 * tensor.grad()).detach() : tensor.detach());
      }
      expect_close(stepped, expected, 2e-6);
    }
  }
}

TEST(Distillation, comes_nearer_to_its_teacher) {
  const TestZoo zoo = random_zoo(3, 0.4);
  for (const bool own : {false, true}) {
    const auto distance = [&](const std::string& steps) {
      const Weights student = zoo.fuse("distillation{lr=0.1,batch=12,steps=" + steps +
                                       ",teacher=" + (own ? "own" : "ensemble") + "}")
                                  .weights;
      return divergence(zoo, student, own, 1, 12, 0).item<double>();
    };
    EXPECT_LT(distance("60"), 0.5 * distance("0")) << own;
  }
}

// One expert is its own ensemble, so there is nothing to learn.
TEST(Distillation, of_one_expert_stays_where_it_is) {
  const TestZoo zoo = random_zoo(1, 0.4);
  expect_close(zoo.fuse("distillation{steps=3}").weights, zoo.experts[0], 1e-6);
}

}  // namespace
}  // namespace fusegrid::distillation_test
