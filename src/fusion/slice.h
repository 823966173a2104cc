#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ops/sub.h>

#include "core/weights.h"

namespace fusegrid {

class Slice;

// A lazy tensor field over all elements of the model: a named expression of the models' slices. An engine
// evaluates it slice by slice, or keeps the whole of it and shares it between all cells that use the same
// key.
struct Field {
  std::string key;  // says everything that the value depends on besides the models, e.g. "ties{density=0.2}"
  std::function<at::Tensor(const Slice&)> value;
};

// The same block of one tensor of the base and of every expert, in float32 on the engine's device.
// Element-grain passes see 1-D blocks of at most kSliceElements elements; tensor-grain passes see whole
// tensors in their own shape.
class Slice {
 public:
  const TensorInfo& tensor() const { return *tensor_; }
  size_t tensor_index() const {
    return tensor_index_;
  }                                         // position among the floating tensors, sorted by name
  int64_t begin() const { return begin_; }  // first element inside the tensor
  int64_t global_begin() const {
    return global_begin_;
  }  // ... inside the concatenation of all floating tensors
  int64_t count() const { return count_; }

  const at::Tensor& base() const;  // AccessError unless the method's card declares Need::kPretrained
  const std::vector<at::Tensor>& experts() const { return experts_; }
  at::Tensor task_vector(size_t expert) const { return at::sub(experts_[expert], base()); }
  // The field's values on this block.
  at::Tensor operator[](const Field& field) const;

 private:
  friend class SliceReader;
  const TensorInfo* tensor_ = nullptr;
  size_t tensor_index_ = 0;
  int64_t begin_ = 0, global_begin_ = 0, count_ = 0;
  at::Tensor base_;
  std::vector<at::Tensor> experts_;
  std::function<at::Tensor(const Slice&, const Field&)> field_value_;
};

// Small enough that the op-by-op arithmetic of a slice stays in cache, large enough to hide the calls; the
// unit of every floating-point reduction, so it is part of the numbers and must not depend on ranks or
// memory.
constexpr int64_t kSliceElements = 1 << 16;

}  // namespace fusegrid
