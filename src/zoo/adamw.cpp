#include "zoo/adamw.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_addcmul.h>
#include <ATen/ops/_foreach_div.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_foreach_sqrt.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr double kEpsilon = 1e-8;

}  // namespace

AdamW::AdamW(std::vector<at::Tensor> parameters, double weight_decay, double beta1, double beta2,
             bool relative)
    : parameters_(std::move(parameters)),
      weight_decay_(weight_decay),
      beta1_(beta1),
      beta2_(beta2),
      relative_(relative) {
  FUSEGRID_ASSERT(!relative || weight_decay == 0, "relative steps have no weight decay");
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
  if (relative_) {
    relative_step(gradients, learning_rate);
    return;
  }
  steps_.front().add_(1);
  std::vector<at::Tensor>
      dense;  // the kernel reads memory, whatever the strides say: that of a sum is one number
  for (const at::Tensor& gradient : gradients) {
    dense.push_back(gradient.contiguous());
  }
  at::_fused_adamw_(parameters_, dense, first_moments_, second_moments_, {}, steps_, learning_rate, beta1_,
                    beta2_, weight_decay_, kEpsilon, /*amsgrad=*/false, /*maximize=*/false);
}

void AdamW::relative_step(const std::vector<at::Tensor>& gradients, double learning_rate) {
  ++done_;
  at::_foreach_mul_(first_moments_, beta1_);
  at::_foreach_add_(first_moments_, gradients, 1 - beta1_);
  at::_foreach_mul_(second_moments_, beta2_);
  at::_foreach_addcmul_(second_moments_, gradients, gradients, 1 - beta2_);
  const double of_first = 1 - std::pow(beta1_, static_cast<double>(done_));
  const double of_second = std::sqrt(1 - std::pow(beta2_, static_cast<double>(done_)));
  auto roots = at::_foreach_sqrt(second_moments_);
  at::_foreach_div_(roots, of_second);
  at::_foreach_add_(roots, kEpsilon);
  const auto steps = at::_foreach_div(first_moments_, roots);
  const auto norms = at::_foreach_norm(parameters_, 2);
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const double root_of_count = std::sqrt(static_cast<double>(parameters_[i].numel()));
    const at::Tensor size = (norms[i] / root_of_count).clamp_min(kLeastSize);
    parameters_[i].sub_(steps[i] * (size * (learning_rate / of_first)));
  }
}

void clip_gradients(const std::vector<at::Tensor>& gradients, double limit) {
  const at::NoGradGuard no_grad;
  const at::Tensor norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients, 2)));
  constexpr double kLeastNorm = 1e-6;
  at::_foreach_mul_(gradients, (limit / (norm + kLeastNorm)).clamp_max(1.0));
}

}  // namespace fusegrid
