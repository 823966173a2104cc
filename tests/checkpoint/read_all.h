#pragma once

#include <ATen/ops/empty.h>

#include "checkpoint/model_source.h"

namespace fusegrid {

inline at::Tensor read(const ModelSource& model, const TensorInfo& tensor) {
  at::Tensor values = at::empty(tensor.shape, tensor.dtype);
  model.read_range(tensor.name, 0, tensor.numel(), values.mutable_data_ptr());
  return values;
}

inline Weights read_all(const ModelSource& model) {
  Weights weights;
  for (const TensorInfo& tensor : model.tensors()) {
    weights.emplace(tensor.name, read(model, tensor));
  }
  return weights;
}

}  // namespace fusegrid
