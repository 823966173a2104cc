#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/errors.h"
#include "core/low_rank_factors.h"
#include "core/weights.h"
#include "fusion/loops/slice_vector.h"

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

// One model's block in a slice: as it is stored and, made when first asked for, as float32.
class SliceBlock {
 public:
  SliceBlock() = default;
  // `buffer`: float32 memory for values(), for at least the block's elements, if it is to be used
  explicit SliceBlock(at::Tensor stored, at::Tensor buffer = {});
  bool defined() const { return stored_.defined(); }
  const at::Tensor& unread() const {
    return stored_;
  }  // as stored; for its shape, and for blocks that are made of it
  // Whoever reads a block for the first time is counted (core/operation_count.h).
  const at::Tensor& stored() const;  // float32, bfloat16 or float16
  const at::Tensor& values() const;  // float32

 private:
  at::Tensor stored_;
  at::Tensor buffer_;
  mutable at::Tensor values_;
  mutable bool read_ = false;
};

// The same block of one tensor of the base and of every expert, on the engine's device. Element-grain passes see 1-D
// blocks of at most slice_elements(device) elements; tensor-grain passes see whole tensors in their own shape. Filled
// in by engines; methods read it.
struct Slice {
  const TensorInfo* info = nullptr;
  size_t tensor_index = 0;   // position among the floating tensors, sorted by name
  int64_t begin = 0;         // first element inside the tensor
  int64_t global_begin = 0;  // ... inside the concatenation of all floating tensors
  int64_t count = 0;
  // What the arithmetic of precision=compat rounds to; engines that do not compute so leave it as it is.
  at::ScalarType rounded_to = at::kFloat;
  SliceBlock base_block;  // undefined unless the method's card declares Need::kPretrained
  std::vector<SliceBlock> expert_blocks;
  std::function<at::Tensor(const Slice&, const Field&)> field_value;
  // See factors(); empty where no expert has any.
  std::function<std::optional<LowRankFactors>(size_t expert)> read_factors;
  // In a pass that makes models, memory for the result of each (float32, 1-D), or nothing. A result that is made there
  // need not be copied.
  std::vector<at::Tensor> results;

  const std::string& name() const { return info->name; }
  size_t num_experts() const { return expert_blocks.size(); }
  // In float32, for operations on whole blocks.
  const at::Tensor& base() const;  // AccessError where it is undefined
  const at::Tensor& expert(size_t index) const { return expert_blocks[index].values(); }
  std::vector<at::Tensor> experts() const;
  at::Tensor task_vector(size_t expert) const;
  std::vector<at::Tensor> task_vectors() const;
  // The task vector of the whole tensor as the expert has it in its file, on the engine's device, where that is an
  // adapter which changes it by factors alone. The difference of weights is that product after rounding. AccessError
  // where the base is undefined.
  std::optional<LowRankFactors> factors(size_t expert) const;
  // For loops over chunks, which need no float32 copies: slice_vector.h.
  SliceVector base_view() const;  // AccessError where it is undefined
  std::vector<SliceVector> expert_views() const;
  std::vector<SliceVector> task_vector_views() const;
  at::Tensor operator[](const Field& field) const { return field_value(*this, field); }
  // The block of `whole` (a model-shaped set of tensors, such as a Fisher diagonal) that this slice covers.
  at::Tensor of(const Weights& whole) const;
};

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
