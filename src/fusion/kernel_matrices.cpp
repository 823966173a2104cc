#include "fusion/kernel_matrices.h"

#include "core/role.h"

namespace fusegrid {
namespace {

SliceBlock as_matrix(const SliceBlock& block) {
  return block.defined() ? SliceBlock(block.unread().flatten(1)) : SliceBlock();
}

// Calls `see` with the kernel's slice as one of a matrix. The kernel's slice outlives the call.
template <typename Result>
Result see_matrix(const Slice& kernel, const std::function<Result(const Slice&)>& see) {
  TensorInfo info = *kernel.info;
  info.shape = {info.shape.front(), info.numel() / info.shape.front()};
  Slice matrix = kernel;
  matrix.info = &info;
  matrix.base_block = as_matrix(kernel.base_block);
  for (SliceBlock& block : matrix.expert_blocks) {
    block = as_matrix(block);
  }
  matrix.field_value = [&](const Slice&, const Field& field) { return kernel[field].reshape(info.shape); };
  return see(matrix);
}

bool is_kernel(const Slice& slice) {
  return slice.count > 0 && role_of(*slice.info) == Role::kConvolution;
}

}  // namespace

OfSlice with_kernel_matrices(OfSlice fuse) {
  return [fuse = std::move(fuse)](const Slice& slice) {
    return is_kernel(slice) ? see_matrix(slice, fuse).reshape(slice.info->shape) : fuse(slice);
  };
}

AllOfSlice with_kernel_matrices(AllOfSlice fuse) {
  return [fuse = std::move(fuse)](const Slice& slice) {
    if (!is_kernel(slice)) {
      return fuse(slice);
    }
    std::vector<at::Tensor> values = see_matrix(slice, fuse);
    for (at::Tensor& value : values) {
      value = value.reshape(slice.info->shape);
    }
    return values;
  };
}

}  // namespace fusegrid
