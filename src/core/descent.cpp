#include "core/descent.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>

namespace fusegrid {

Sgd::Sgd(std::vector<at::Tensor> parameters, double weight_decay, double momentum)
    : parameters_(std::move(parameters)), weight_decay_(weight_decay), momentum_(momentum) {
  for (const at::Tensor& parameter : parameters_) {
    velocities_.push_back(at::zeros_like(parameter));
  }
}

void Sgd::step(const std::vector<at::Tensor>& gradients, double learning_rate) {
  const at::NoGradGuard no_gradients;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    at::Tensor& parameter = parameters_[i];
    const at::Tensor gradient = gradients[i].add(parameter, weight_decay_);
    velocities_[i].mul_(momentum_).add_(gradient);
    parameter.sub_(gradient.add(velocities_[i], momentum_), learning_rate);
  }
}

double learning_rate_at(int64_t step, int64_t steps, double highest, int64_t warmup) {
  const double rise = static_cast<double>(step + 1) / static_cast<double>(warmup);
  const double fall =
      0.5 * (1 + std::cos(std::numbers::pi * static_cast<double>(step) / static_cast<double>(steps)));
  return highest * std::min(rise, fall);
}

}  // namespace fusegrid
