#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linalg_det.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <gtest/gtest.h>

#include "core/concatenate.h"
#include "core/descent.h"
#include "core/role.h"
#include "methods/path_checks.h"

namespace fusegrid::espro_test {
namespace {

constexpr int64_t kBatch = 10;

// Uniform in a simplex: normalised exponential numbers.
std::vector<double> coordinates(const TestZoo& zoo, const std::string& purpose, int64_t draw,
                                int64_t corners) {
  const at::Tensor numbers =
      -(1 - uniform(derive_key(zoo.seed, purpose), static_cast<uint64_t>(draw), 0, corners).to(at::kDouble))
           .log();
  const at::Tensor shares = numbers / numbers.sum();
  return {shares.const_data_ptr<double>(), shares.const_data_ptr<double>() + corners};
}

Weights mixed(const std::vector<const Weights*>& corners, const std::vector<double>& shares) {
  Weights model = *corners.front();
  for (auto& [name, tensor] : model) {
    if (tensor.is_floating_point()) {
      tensor = tensor * shares[0];
      for (size_t k = 1; k < corners.size(); ++k) {
        tensor = tensor + corners[k]->at(name) * shares[k];
      }
    }
  }
  return model;
}

at::Tensor flat(const Weights& weights) {
  std::vector<at::Tensor> all;
  for (const auto& [name, tensor] : weights) {
    if (tensor.is_floating_point()) {
      all.push_back(tensor.to(at::kDouble).reshape({-1}));
    }
  }
  return concatenate(all, 0);
}

// Of the simplexes of all experts: square roots of Gram determinants of their edges.
at::Tensor log_volume(const TestZoo& zoo, const std::vector<Weights>& points) {
  at::Tensor sum;
  for (const Weights& expert : zoo.experts) {
    std::vector<at::Tensor> edges;
    for (const Weights& point : points) {
      edges.push_back(flat(point) - flat(expert));
    }
    const at::Tensor matrix = at::stack(edges);
    const at::Tensor volume = at::linalg_det(at::matmul(matrix, matrix.t())).sqrt();
    sum = sum.defined() ? sum + volume : volume;
  }
  return sum.log();
}

std::vector<const Weights*> corners_of(const Weights& expert, const std::vector<Weights>& points) {
  std::vector<const Weights*> corners{&expert};
  for (const Weights& point : points) {
    corners.push_back(&point);
  }
  return corners;
}

// Autograd goes through the drawn model, its decay and the volume.
std::vector<Weights> trained_points(const TestZoo& zoo, int64_t count, int64_t steps, double lr, double decay,
                                    double volume) {
  std::vector<Weights> points;
  for (int64_t k = 0; k < count; ++k) {
    std::vector<const Weights*> corners;
    for (const Weights& model : zoo.experts) {
      corners.push_back(&model);
    }
    for (const Weights& model : points) {
      corners.push_back(&model);
    }
    points.push_back(
        mixed(corners, std::vector<double>(corners.size(), 1.0 / static_cast<double>(corners.size()))));
    Weights velocity = mixed({&points.back()}, {0});
    for (int64_t step = 0; step < steps; ++step) {
      const int64_t draw = k * steps + step;
      const auto expert = static_cast<size_t>(
          uniform(derive_key(zoo.seed, "espro/training/simplex"), 0, draw, 1).item<double>() *
          static_cast<double>(zoo.experts.size()));
      const at::AutoGradMode with_gradients(true);
      for (auto& [name, leaf] : points.back()) {
        leaf = leaf.is_floating_point() ? leaf.detach().clone().requires_grad_(true) : leaf;
      }
      const Weights model =
          mixed(corners_of(zoo.experts[expert], points), coordinates(zoo, "espro/training", draw, k + 2));
      at::Tensor loss = loss_of_batch(zoo, model, "espro", kBatch, draw) - volume * log_volume(zoo, points);
      for (const auto& [name, tensor] : model) {
        const TensorInfo info{name, tensor.sizes().vec(), tensor.scalar_type()};
        if (tensor.is_floating_point() && is_layer_weight(info)) {
          loss = loss + decay / 2 * (tensor * tensor).sum();
        }
      }
      loss.backward();
      const double rate = learning_rate_at(step, steps, lr, std::max<int64_t>(steps / 10, 1));
      for (auto& [name, leaf] : points.back()) {
        if (leaf.is_floating_point()) {
          velocity[name] = 0.9 * velocity[name] + leaf.grad();
          leaf = leaf.detach() - rate * (leaf.grad() + 0.9 * velocity[name]);
        }
      }
    }
  }
  return points;
}

void expect_answers_as_members(const TestZoo& zoo, const Merged& merged, const std::vector<Weights>& points,
                               int64_t members) {
  for (const std::string& task : zoo.tasks) {
    at::Tensor sum;
    for (int64_t i = 0; i < members; ++i) {
      const auto shares = coordinates(zoo, "espro/members", i, static_cast<int64_t>(points.size()) + 1);
      const Weights& expert = zoo.experts[static_cast<size_t>(i) % zoo.experts.size()];
      const at::Tensor answer =
          at::softmax(zoo.logits_of(mixed(corners_of(expert, points), shares), task), 1);
      sum = sum.defined() ? sum + answer : answer;
    }
    expect_close(zoo.logits(merged, task).exp(), sum / static_cast<double>(members), 2e-6);
  }
}

TEST(Espro, trains_its_points_as_autograd_through_the_complex_does) {
  TestZoo zoo = random_zoo(3, 0.3);
  zoo.seed = 5;
  for (const int64_t points : {1, 2}) {
    const auto expected = trained_points(zoo, points, 3, 0.05, 0.1, 0.7);
    const Merged merged = zoo.fuse("espro{points=" + std::to_string(points) +
                                   ",steps=3,lr=0.05,weight_decay=0.1,volume=0.7,batch=10,members=4}");
    expect_answers_as_members(zoo, merged, expected, 4);
  }
}

TEST(Espro, is_of_points_between_the_experts_without_training) {
  const TestZoo zoo = random_zoo(2, 0.3);
  std::vector<Weights> middle{mixed({&zoo.experts[0], &zoo.experts[1]}, {0.5, 0.5})};
  expect_answers_as_members(zoo, zoo.fuse("espro{steps=0,members=3}"), middle, 3);
}

TEST(Espro, of_one_model_again_and_again_is_that_model_while_nothing_is_trained) {
  TestZoo zoo = random_zoo(2, 0.3);
  zoo.experts[1] = zoo.experts[0];
  expect_close(zoo.logits(zoo.fuse("espro{steps=0}"), "task0").exp(),
               at::softmax(zoo.logits_of(zoo.experts[0], "task0"), 1), 1e-6);
}

}  // namespace
}  // namespace fusegrid::espro_test
