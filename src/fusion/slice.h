#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/errors.h"
#include "core/weights.h"

namespace fusegrid {

class Slice;

// A lazy tensor over all elements of the model: a named expression of the models' slices. An engine evaluates
// it slice by slice, or makes the whole of it once and shares it between all cells that use the same key.
struct Field {
  std::string key;  // says everything that the value depends on besides the models, e.g. "ties{density=0.2}"
  std::function<at::Tensor(const Slice&)> value;
  // `value` needs whole tensors in their own shape, so that only tensor-grain passes can read the field.
  bool whole_tensors = false;
};

// The same block of one tensor of the base and of every expert, in float32 on the engine's device.
// Element-grain passes see 1-D blocks of at most slice_elements(device) elements; tensor-grain passes see whole
// tensors in their own shape. Filled in by engines; methods read it.
struct Slice {
  const TensorInfo* info = nullptr;
  size_t tensor_index = 0;   // position among the floating tensors, sorted by name
  int64_t begin = 0;         // first element inside the tensor
  int64_t global_begin = 0;  // ... inside the concatenation of all floating tensors
  int64_t count = 0;
  at::Tensor base;  // undefined unless the method's card declares Need::kPretrained
  std::vector<at::Tensor> experts;
  std::function<at::Tensor(const Slice&, const Field&)> field_value;

  const std::string& name() const { return info->name; }
  at::Tensor task_vector(size_t expert) const;
  std::vector<at::Tensor> task_vectors() const;
  at::Tensor operator[](const Field& field) const { return field_value(*this, field); }
  // The block of `whole` (a model-shaped set of tensors, such as a Fisher diagonal) that this slice covers.
  at::Tensor of(const Weights& whole) const;
};

// Added in the order given, so that every method rounds alike. Neither changes its arguments.
at::Tensor sum_of(const std::vector<at::Tensor>& tensors);
at::Tensor mean_of(const std::vector<at::Tensor>& tensors);

// Elements of a block, the unit of element-grain passes and of every floating-point reduction. So it is part of
// the numbers: it may depend on the kind of device, never on ranks or memory. On CPUs a block's op-by-op
// arithmetic stays in cache; on GPUs a block is so large that the kernels hide their launches.
constexpr int64_t kSliceElements = 1 << 16;
constexpr int64_t kDeviceSliceElements = 1 << 23;
inline int64_t slice_elements(at::Device device) {
  return device.is_cpu() ? kSliceElements : kDeviceSliceElements;
}

// A method asked for something that its card does not declare: a bug of the method, reported as a failed
// cell.
struct AccessError : Error {
  explicit AccessError(const std::string& message) : Error(ExitCode::kConfig, message) {}
};

}  // namespace fusegrid
