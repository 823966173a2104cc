#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "fusion/whole_model/labelled_batches.h"
#include "models/network.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::learned_soup_test {
namespace {

at::Tensor loss_of(const TestZoo& zoo, const Weights& weights, const at::Tensor& log_temperature,
                   int64_t batch, int64_t step) {
  at::Tensor sum = at::zeros({});
  for (const std::string& task : zoo.tasks) {
    const Examples examples = labelled_batch(*zoo.network, zoo.data.examples(task, "val", -1),
                                             derive_key(zoo.seed, "learned_soup/" + task), batch, step);
    sum = sum +
          at::cross_entropy_loss(zoo.network->output(weights, examples.inputs, task) * log_temperature.exp(),
                                 examples.labels);
  }
  return sum / static_cast<double>(zoo.tasks.size());
}

Weights mixture_of(const TestZoo& zoo, const at::Tensor& logits) {
  const at::Tensor shares = at::softmax(logits, 0);
  Weights theta = zoo.experts[0];
  for (auto& [name, tensor] : theta) {
    if (tensor.is_floating_point()) {
      at::Tensor sum = at::zeros(tensor.sizes());
      for (size_t i = 0; i < zoo.experts.size(); ++i) {
        sum = sum + shares[static_cast<int64_t>(i)] * zoo.experts[i].at(name);
      }
      tensor = sum;
    }
  }
  return theta;
}

// One step of Adam is the sign of the gradient, which autograd takes through the softmax and the mixture.
TEST(LearnedSoup, steps_against_the_gradient_of_the_validation_loss) {
  const TestZoo zoo = random_zoo(3, 0.4);
  const at::AutoGradMode with_gradients(true);
  at::Tensor logits = at::zeros({3}).requires_grad_(true);
  loss_of(zoo, mixture_of(zoo, logits), at::zeros({}), 12, 0).backward();
  const at::Tensor stepped = -0.1 * logits.grad().sign();
  const at::NoGradGuard no_gradients;
  expect_close(zoo.fuse("learned_soup{steps=1,lr=0.1,batch=12}").weights, mixture_of(zoo, stepped), 2e-6);
}

TEST(LearnedSoup, lowers_the_loss_that_it_is_learnt_on) {
  const TestZoo zoo = random_zoo(3, 0.4);
  const auto loss = [&](const Weights& weights) {
    return loss_of(zoo, weights, at::zeros({}), 12, 0).item<double>();
  };
  const double before = loss(zoo.fuse("learned_soup{steps=0}").weights);
  EXPECT_LT(loss(zoo.fuse("learned_soup{steps=40,lr=0.1,batch=12}").weights), before);
  EXPECT_LT(loss(zoo.fuse("learned_soup{steps=40,lr=0.1,batch=12,weights=layer_wise}").weights), before);
}

TEST(LearnedSoup, without_steps_is_the_average) {
  const TestZoo zoo = random_zoo(3);
  expect_close(zoo.fuse("learned_soup{steps=0}").weights, zoo.fuse("simple_average").weights, 2e-7);
}

}  // namespace
}  // namespace fusegrid::learned_soup_test
