#include "zoo/adamw.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

namespace fusegrid {

AdamW::AdamW(std::vector<at::Tensor> parameters, double weight_decay, double beta1, double beta2)
    : parameters_(std::move(parameters)), weight_decay_(weight_decay), beta1_(beta1), beta2_(beta2) {
  const at::NoGradGuard no_grad;
  for (const at::Tensor& parameter : parameters_) {
    first_moments_.push_back(at::zeros_like(parameter));
    second_moments_.push_back(at::zeros_like(parameter));
  }
  if (!parameters_.empty()) {
    // the kernel wants a counter for each tensor; one and the same serves all
    steps_.assign(parameters_.size(), at::zeros({}, parameters_.front().options().dtype(at::kFloat)));
  }
}

void AdamW::step(const std::vector<at::Tensor>& gradients, double learning_rate) {
  if (parameters_.empty()) {
    return;
  }
  const at::NoGradGuard no_grad;
  constexpr double kEpsilon = 1e-8;
  steps_.front().add_(1);
  at::_fused_adamw_(parameters_, gradients, first_moments_, second_moments_, {}, steps_, learning_rate,
                    beta1_, beta2_, weight_decay_, kEpsilon, /*amsgrad=*/false, /*maximize=*/false);
}

void clip_gradients(const std::vector<at::Tensor>& gradients, double limit) {
  const at::NoGradGuard no_grad;
  const at::Tensor norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients, 2)));
  constexpr double kEpsilon = 1e-6;
  at::_foreach_mul_(gradients, (limit / (norm + kEpsilon)).clamp_max(1.0));
}

double learning_rate_at(int64_t step, int64_t steps, double highest, int64_t warmup) {
  const double rise = static_cast<double>(step + 1) / static_cast<double>(warmup);
  const double fall =
      0.5 * (1 + std::cos(std::numbers::pi * static_cast<double>(step) / static_cast<double>(steps)));
  return highest * std::min(rise, fall);
}

}  // namespace fusegrid
