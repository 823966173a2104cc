#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace fusegrid {

// An affine map from features to logits.
struct AffineHead {
  at::Tensor weight;  // float [classes, features]
  at::Tensor bias;    // float [classes]
};

// Logistic regression on standardised features: minimises the mean cross entropy plus 0.001 times the squared norm of
// the weights (not of the bias) by 300 steps of Adam over all rows, and folds the standardisation into the map.
//   features  float [rows, features], without gradients
//   labels    int64 [rows], less than `classes`, on the same device
AffineHead fit_probe(const at::Tensor& features, const at::Tensor& labels, int64_t classes);

}  // namespace fusegrid
