#include "fusion/whole_model/adam.h"

#include <cmath>
#include <utility>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/zeros_like.h>

namespace fusegrid {

Adam::Adam(at::Tensor parameter, double lr, double beta1, double beta2, double epsilon)
    : parameter_(std::move(parameter)),
      first_(at::zeros_like(parameter_)),
      second_(at::zeros_like(parameter_)),
      lr_(lr),
      beta1_(beta1),
      beta2_(beta2),
      epsilon_(epsilon) {}

void Adam::step(const at::Tensor& gradient) {
  const at::NoGradGuard no_grad;
  ++steps_;
  first_.lerp_(gradient, 1 - beta1_);
  second_.mul_(beta2_).addcmul_(gradient, gradient, 1 - beta2_);
  const double correction1 = 1 - std::pow(beta1_, static_cast<double>(steps_));
  const double correction2 = std::sqrt(1 - std::pow(beta2_, static_cast<double>(steps_)));
  parameter_.addcdiv_(first_, second_.sqrt().div_(correction2).add_(epsilon_), -lr_ / correction1);
}

LeafTraining::LeafTraining(const std::vector<at::Tensor>& leaves, double lr) {
  for (const at::Tensor& leaf : leaves) {
    add(leaf, lr);
  }
}

LeafTraining::LeafTraining(const Weights& leaves, double lr) {
  for (const auto& [name, leaf] : leaves) {
    add(leaf, lr);
  }
}

LeafTraining::~LeafTraining() {
  for (auto& [leaf, adam] : leaves_) {
    leaf.requires_grad_(false);
  }
}

void LeafTraining::set_learning_rate(double lr) {
  for (auto& [leaf, adam] : leaves_) {
    adam.set_learning_rate(lr);
  }
}

void LeafTraining::step() {
  for (auto& [leaf, adam] : leaves_) {
    adam.step(leaf.grad());
    leaf.mutable_grad().reset();
  }
}

void LeafTraining::add(const at::Tensor& leaf, double lr) {
  leaves_.emplace_back(leaf.requires_grad_(true), Adam(leaf, lr));
}

}  // namespace fusegrid
