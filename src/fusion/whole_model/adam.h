#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/weights.h"

namespace fusegrid {

// Adam on one tensor, in place. Source: Kingma & Ba, ICLR 2015, arXiv:1412.6980, with PyTorch's order of
// operations. Own code, because the gradients of merging coefficients are not made by autograd, and
// torch/optim costs 15 s of compile time per file.
class Adam {
 public:
  Adam(at::Tensor parameter, double lr, double beta1 = 0.9, double beta2 = 0.999, double epsilon = 1e-8);
  void step(const at::Tensor& gradient);
  void set_learning_rate(double lr) { lr_ = lr; }

 private:
  at::Tensor parameter_, first_, second_;
  double lr_, beta1_, beta2_, epsilon_;
  int64_t steps_ = 0;
};

// Adam on some tensors, which are leaves while it lives, from the gradients that a backward pass left in all of them.
class LeafTraining {
 public:
  LeafTraining(const std::vector<at::Tensor>& leaves, double lr);
  LeafTraining(const Weights& leaves, double lr);
  ~LeafTraining();  // they collect no gradients from then on
  LeafTraining(const LeafTraining&) = delete;
  LeafTraining& operator=(const LeafTraining&) = delete;
  void set_learning_rate(double lr);
  void step();  // the gradients are gone behind it

 private:
  void add(const at::Tensor& leaf, double lr);

  std::vector<std::pair<at::Tensor, Adam>> leaves_;
};

}  // namespace fusegrid
