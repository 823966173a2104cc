// Vectors over a slice as loops on CPUs read them: chunk by chunk, in the innermost cache, from the dtype in which they
// are stored. That reads and writes several times less than operations on whole blocks, with the same bits.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

namespace fusegrid {

// Entries dropped at random: entry number e stays where the key's entry begin + e does (fusion/passes/drop_rule.h).
// Those that stay are multiplied by `factor`, the others by 0.
struct RandomDrop {
  uint64_t key = 0;
  int64_t begin = 0;
  double rate = 0;
  double factor = 1;
};

// The float32 vector `values`, or `values - minus`, without what `drop` takes from it. float32, bfloat16 and float16
// are taken for the float32 numbers that they are; float64, for methods that compute in it, stays float64. Shares the
// tensors' memory.
struct SliceVector {
  explicit SliceVector(at::Tensor all, at::Tensor subtrahend = {});
  // The vector as a tensor of its own or, where it is stored as one, that.
  at::Tensor tensor() const;
  bool is_chunked()
      const;  // whether a ChunkReader can read it: on a CPU, not float64, outside of graphs of gradients

  at::Tensor values;
  at::Tensor minus;  // of the same shape, or undefined
  std::optional<RandomDrop> drop;
};

// Which entries stay, as bool in the shape of `like`, on its device.
at::Tensor kept_entries(const RandomDrop& drop, const at::Tensor& like);

std::vector<SliceVector> views(const std::vector<at::Tensor>& tensors);
std::vector<at::Tensor> tensors_of(const std::vector<SliceVector>& vectors);
bool all_chunked(const std::vector<SliceVector>& vectors);

// Reads the vectors of a slice side by side in chunks; a subtrahend that all have in common is converted once. Keeps
// their memory alive.
class ChunkReader {
 public:
  static constexpr int64_t kChunk = 1024;  // entries; eight of them fit the innermost cache

  // Vectors of one length that is_chunked() holds for, at least one.
  explicit ChunkReader(const std::vector<SliceVector>& vectors);
  size_t num_vectors() const { return values_.size(); }
  int64_t elements() const { return elements_; }
  // Calls `visit(begin, count)` for each chunk, in order; read() is of that chunk.
  template <typename Visit>
  void for_each_chunk(const Visit& visit) {
    for (int64_t begin = 0; begin < elements_; begin += kChunk) {
      start(begin, std::min(kChunk, elements_ - begin));
      visit(begin_, count_);
    }
  }
  // The chunk's entries of one vector: in `scratch` (kChunk numbers), or where they are stored.
  const float* read(size_t vector, float* scratch);
  // One of them, for the few that need more than loops do.
  float at(size_t vector, int64_t i) const;

 private:
  friend class EntryLoops;
  void start(int64_t begin, int64_t count);

  std::vector<at::Tensor> values_;  // contiguous
  std::vector<at::Tensor> minus_;   // likewise; empty where the vectors have none
  std::vector<std::optional<RandomDrop>> drops_;
  bool common_minus_ = false;
  int64_t elements_ = 0;
  int64_t begin_ = 0, count_ = 0;  // of the chunk
  const float* minus_chunk_ = nullptr;
  float minus_scratch_[kChunk];
};

// Added in the order given, so that every method rounds alike. At least one vector. The results share no memory with
// the arguments.
at::Tensor sum_of(const std::vector<SliceVector>& vectors);
at::Tensor sum_of(const std::vector<at::Tensor>& tensors);
at::Tensor mean_of(const std::vector<SliceVector>& vectors);
at::Tensor mean_of(const std::vector<at::Tensor>& tensors);
// The first times its weight, plus weight times vector one after the other, rounded once each.
at::Tensor weighted_sum_of(const std::vector<SliceVector>& vectors, const std::vector<double>& weights);

// vector + scale * step, rounded once.
at::Tensor add_scaled(const SliceVector& vector, const at::Tensor& step, double scale);

// Entry by entry the one of largest magnitude, of equal ones the last.
at::Tensor largest_of(const std::vector<SliceVector>& vectors);

}  // namespace fusegrid
