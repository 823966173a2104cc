#include <ATen/core/grad_mode.h>
#include <ATen/ops/cross_entropy_loss.h>

#include "methods/adamerging_checks.h"

namespace fusegrid::frank_wolfe_test {
namespace {

// The mean over tasks of the cross-entropy of the first examples of their training splits.
at::Tensor loss_of(const TestZoo& zoo, const Weights& weights, int64_t count) {
  at::Tensor sum;
  for (const std::string& task : zoo.tasks) {
    const Examples examples = zoo.data.examples(task, "train", count);
    const at::Tensor loss = at::cross_entropy_loss(
        zoo.network->output(weights, zoo.network->ready(examples.inputs), task), examples.labels);
    sum = sum.defined() ? sum + loss : loss;
  }
  return sum / static_cast<double>(zoo.tasks.size());
}

double inner_product(const Weights& a, const Weights& b, const std::string& tensor) {
  return (a.at(tensor).to(at::kDouble) * b.at(tensor).to(at::kDouble)).sum().item<double>();
}

// Frank-Wolfe in the space of the weights, with gradients by autograd: what the method does in that of coefficients.
Weights in_weights(const TestZoo& zoo, bool layer_wise, int64_t steps) {
  const Weights start = zoo.fuse("task_arithmetic{scale=0.3}").weights;
  std::vector<Weights> vertices = zoo.experts;
  vertices.push_back(start);
  Weights theta = start;
  for (int64_t step = 0; step < steps; ++step) {
    Weights gradient;
    {
      const at::AutoGradMode with_gradients(true);
      Weights leaves = theta;
      for (auto& [name, tensor] : leaves) {
        tensor = tensor.is_floating_point() ? tensor.detach().clone().requires_grad_(true) : tensor;
      }
      loss_of(zoo, leaves, 10).backward();
      for (auto& [name, tensor] : leaves) {
        if (tensor.is_floating_point()) {
          gradient.emplace(name, tensor.grad());
        }
      }
    }
    std::vector<double> whole(vertices.size(), 0);
    for (size_t i = 0; i < vertices.size(); ++i) {
      for (const auto& [name, unused] : gradient) {
        whole[i] += inner_product(gradient, vertices[i], name);
      }
    }
    for (const auto& [name, unused] : gradient) {
      std::vector<double> products = whole;
      for (size_t i = 0; layer_wise && i < vertices.size(); ++i) {
        products[i] = inner_product(gradient, vertices[i], name);
      }
      const auto best =
          static_cast<size_t>(std::min_element(products.begin(), products.end()) - products.begin());
      const double length = 0.4 * 2 / static_cast<double>(step + 2);
      theta[name] = theta[name] + (vertices[best].at(name) - theta[name]) * length;
    }
  }
  return theta;
}

TEST(FrankWolfe, steps_as_in_the_space_of_the_weights) {
  const TestZoo zoo = random_zoo(3, 0.3);
  for (const bool layer_wise : {false, true}) {
    const Weights merged = zoo.fuse("frank_wolfe{steps=4,batch=10,step=0.4,coefficients=" +
                                    std::string(layer_wise ? "layer_wise" : "task_wise") + "}")
                               .weights;
    expect_close(without_key_biases(merged), without_key_biases(in_weights(zoo, layer_wise, 4)), 5e-6);
  }
}

TEST(FrankWolfe, lowers_the_loss) {
  const TestZoo zoo = random_zoo(3, 0.3);
  const double before = loss_of(zoo, zoo.fuse("frank_wolfe{steps=0}").weights, 24).item<double>();
  const Weights after = zoo.fuse("frank_wolfe{steps=10,batch=24,coefficients=layer_wise}").weights;
  EXPECT_LT(loss_of(zoo, after, 24).item<double>(), before - 0.01);
}

TEST(FrankWolfe, without_steps_is_task_arithmetic) {
  const TestZoo zoo = random_zoo(3);
  expect_close(zoo.fuse("frank_wolfe{steps=0,scale=0.25}").weights,
               zoo.fuse("task_arithmetic{scale=0.25}").weights, 2e-7);
}

TEST(FrankWolfe, with_whole_steps_and_one_expert_goes_to_the_better_end) {
  const TestZoo zoo = random_zoo(1, 0.3);
  // the first step is of length 1: to the expert, or back to the base
  const Weights merged = zoo.fuse("frank_wolfe{steps=1,step=1,scale=0}").weights;
  const bool to_expert = digest(merged) != digest(zoo.base);
  expect_close(merged, to_expert ? zoo.experts[0] : zoo.base, 1e-6);
}

}  // namespace
}  // namespace fusegrid::frank_wolfe_test
