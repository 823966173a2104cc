// Gradient descent.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace fusegrid {

// With Nesterov momentum (Sutskever et al., ICML 2013) on tensors that are updated in place:
//   g = gradient + weight_decay * x,   v = momentum v + g,   x = x - rate (g + momentum v)
class Sgd {
 public:
  // The tensors must be leaves of one device; the optimiser keeps references to them.
  Sgd(std::vector<at::Tensor> parameters, double weight_decay, double momentum);
  // gradients: one per parameter, in the same order.
  void step(const std::vector<at::Tensor>& gradients, double learning_rate);

 private:
  std::vector<at::Tensor> parameters_, velocities_;
  double weight_decay_, momentum_;
};

// Learning rate of step 0 .. steps-1: linear warm-up over `warmup` steps under a cosine that ends at zero.
double learning_rate_at(int64_t step, int64_t steps, double highest, int64_t warmup);

}  // namespace fusegrid
