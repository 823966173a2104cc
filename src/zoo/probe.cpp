#include "zoo/probe.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/std.h>
#include <ATen/ops/zeros.h>

#include "zoo/training.h"

namespace fusegrid {

AffineHead fit_probe(const at::Tensor& features, const at::Tensor& labels, int64_t classes) {
  constexpr double kSmallestDeviation = 1e-4;  // a feature that is the same everywhere stays finite
  constexpr double kPenalty = 1e-3;
  const at::Tensor mean = features.mean(0);
  const at::Tensor deviation = features.std(0) + kSmallestDeviation;
  const at::Tensor standardised = (features - mean) / deviation;
  at::Tensor weight = at::zeros({classes, features.size(1)}, features.options()).requires_grad_(true);
  at::Tensor bias = at::zeros({classes}, features.options()).requires_grad_(true);
  minimise(
      [&](int64_t) {
        return at::cross_entropy_loss(at::linear(standardised, weight, bias), labels) +
               kPenalty * weight.square().sum();
      },
      {{.tensors = {weight, bias}}}, {.steps = 300, .learning_rate = 0.02});
  const at::Tensor folded = weight.detach() / deviation;
  return {folded, bias.detach() - at::mv(folded, mean)};
}

}  // namespace fusegrid
