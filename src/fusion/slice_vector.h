// Vectors over a slice as loops on CPUs read them: chunk by chunk, in the innermost cache, from the dtype in which they are
// stored. That reads and writes several times less than operations on whole blocks, with the same bits.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace fusegrid {

// The float32 vector `values`, or `values - minus`. float32, bfloat16 and float16 are taken for the float32 numbers
// that they are; float64, for methods that compute in it, stays float64. Shares the tensors' memory.
struct SliceVector {
  explicit SliceVector(at::Tensor all, at::Tensor subtrahend = {});
  // The vector as a tensor of its own or, where it is stored as one, that.
  at::Tensor tensor() const;
  bool is_chunked()
      const;  // whether a ChunkReader can read it: on a CPU, not float64, outside of graphs of gradients

  at::Tensor values;
  at::Tensor minus;  // of the same shape, or undefined
};

std::vector<SliceVector> views(const std::vector<at::Tensor>& tensors);
bool all_chunked(const std::vector<SliceVector>& vectors);

// Reads a vector in chunks. Keeps its memory alive.
class ChunkReader {
 public:
  static constexpr int64_t kChunk = 1024;  // entries; eight of them fit the innermost cache

  explicit ChunkReader(const SliceVector& vector);
  int64_t size() const { return values_.numel(); }
  // The entries [begin, begin + count), count <= kChunk: in `scratch`, or where they are stored.
  const float* read(int64_t begin, int64_t count, float* scratch) const;

 private:
  at::Tensor values_;  // contiguous
  at::Tensor minus_;
};

// Added in the order given, so that every method rounds alike. At least one vector. The results share no memory with
// the arguments.
at::Tensor sum_of(const std::vector<SliceVector>& vectors);
at::Tensor sum_of(const std::vector<at::Tensor>& tensors);
at::Tensor mean_of(const std::vector<SliceVector>& vectors);
at::Tensor mean_of(const std::vector<at::Tensor>& tensors);

}  // namespace fusegrid
