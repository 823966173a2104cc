// Sums over models of a slice in one pass, with the bits of the same sums made operation by operation.
#pragma once

#include <algorithm>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>

namespace fusegrid {

// What chunked_sum() can read.
inline bool is_plain(const at::Tensor& tensor) {
  return tensor.is_cpu() && tensor.scalar_type() == at::kFloat && tensor.is_contiguous() &&
         !tensor.requires_grad();
}

// sum_t value(tensors[t][i], i), added in order; the entries of a chunk stay in the innermost cache meanwhile. Tensors:
// plain, at least one, of one shape.
template <typename Value>
at::Tensor chunked_sum(const std::vector<at::Tensor>& tensors, const Value& value) {
  constexpr int64_t kChunk = 2048;
  at::Tensor sum = at::empty_like(tensors[0]);
  auto* __restrict out = sum.mutable_data_ptr<float>();
  const int64_t size = sum.numel();
  for (int64_t begin = 0; begin < size; begin += kChunk) {
    const int64_t end = std::min(begin + kChunk, size);
    const auto* __restrict first = tensors[0].const_data_ptr<float>();
    for (int64_t i = begin; i < end; ++i) {
      out[i] = value(first[i], i);
    }
    for (size_t t = 1; t < tensors.size(); ++t) {
      const auto* __restrict from = tensors[t].const_data_ptr<float>();
      for (int64_t i = begin; i < end; ++i) {
        out[i] += value(from[i], i);
      }
    }
  }
  return sum;
}

}  // namespace fusegrid
