#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace fusegrid {

// AdamW (Loshchilov & Hutter, arXiv:1711.05101) on tensors that are updated in place, one fused kernel per
// step and group, without a wait for the device.
class AdamW {
 public:
  // Tensors of one group share a weight decay. They must be leaves of one device; the optimiser keeps
  // references to them.
  //   relative   the learning rate is in units of a tensor's root mean square, at least kLeastSize (as Adafactor's,
  //              Shazeer & Stern, arXiv:1804.04235, section 8); without weight decay
  AdamW(std::vector<at::Tensor> parameters, double weight_decay, double beta1, double beta2,
        bool relative = false);
  // gradients: one per parameter, in the same order.
  void step(const std::vector<at::Tensor>& gradients, double learning_rate);

 private:
  static constexpr double kLeastSize = 1e-3;
  void relative_step(const std::vector<at::Tensor>& gradients, double learning_rate);

  std::vector<at::Tensor> parameters_, first_moments_, second_moments_, steps_;
  double weight_decay_, beta1_, beta2_;
  bool relative_;
  int64_t done_ = 0;  // steps
};

// Scales the gradients so that their common 2-norm is at most `limit`; in place, without a wait for the
// device.
void clip_gradients(const std::vector<at::Tensor>& gradients, double limit);

}  // namespace fusegrid
