#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace fusegrid {

// The `count` largest entries of a tensor, exactly: bool, of the shape of `values`; of equal entries the first
// (in row-major order) are taken. By selection, not by sorting: the cost is linear. No entry may be NaN.
at::Tensor largest_mask(const at::Tensor& values, int64_t count);

// The k-th smallest entry of a tensor, k counted from 1.
double kth_value(const at::Tensor& values, int64_t k);

// How much an expert's entries matter by arcee_fusion's rule: |expert - base| times the divergence of the softmax of
// the entry's row (last dimension) from the base's, KL(softmax(expert) || softmax(base)). In the dtype of the
// arguments.
at::Tensor softmax_importance(const at::Tensor& expert, const at::Tensor& base);

}  // namespace fusegrid
