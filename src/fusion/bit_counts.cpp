#include "fusion/bit_counts.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/bitwise_and.h>
#include <ATen/ops/bitwise_right_shift.h>
#include <ATen/ops/bitwise_xor.h>
#include <ATen/ops/histc.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>

#include "fusion/entry_loops.h"

namespace fusegrid {
namespace {

constexpr int64_t kCopies = device_kernels::kCompiled ? device_kernels::kCountCopies : 1;
// histc leaves out what lies beyond its bounds, but counts the upper one: a bin more than are of use.
constexpr int64_t kBeyond = device_kernels::kCompiled ? 0 : 1;

}  // namespace

// In loops of one step each, so that their bits become vector instructions.
template <typename Count>
void count_chunk(const float* values, int64_t count, CountRule rule, Count* counts) {
  uint32_t bits[ChunkReader::kChunk];
  uint32_t bins[ChunkReader::kChunk];
  for (int64_t i = 0; i < count; ++i) {
    bits[i] = ordered_bits(values[i], rule.order);
  }
  int64_t counted = 0;
  for (int64_t i = 0; i < count; ++i) {
    bins[counted] = rule.low ? bits[i] & 0xffffU : bits[i] >> 16;
    // no branch: differences of bfloat16 numbers take few values, so that it would often be guessed wrong
    counted += !rule.low || bits[i] >> 16 == rule.high ? 1 : 0;
  }
  for (int64_t i = 0; i < counted; ++i) {
    ++counts[bins[i]];
  }
}

template void count_chunk(const float*, int64_t, CountRule, int64_t*);
template void count_chunk(const float*, int64_t, CountRule, uint32_t*);

void DeviceCounts::add(const SliceVector& vector, CountRule rule) {
  if (!counts_.defined()) {
    counts_ = at::zeros({kCopies, kBins + kBeyond}, vector.values.options().dtype(at::kLong));
  }
  if constexpr (device_kernels::kCompiled) {
    const DeviceVectors vectors({vector}, {});
    device_kernels::count_bits(vectors.all.values[0], vectors.all.minus, vector.values.numel(), rule,
                               counts_.mutable_data_ptr<int64_t>(),
                               current_stream(counts_.device()).native_handle());
  } else {
    add_op_by_op(vector.tensor().reshape({-1}), rule);
  }
}

void DeviceCounts::move_to(int64_t* counts) const {
  if (counts_.defined()) {
    const at::Tensor host = counts_.sum(0).cpu();
    std::copy_n(host.const_data_ptr<int64_t>(), kBins, counts);
  }
}

void DeviceCounts::add_op_by_op(const at::Tensor& flat, CountRule rule) {
  const bool magnitudes = rule.order == Order::kMagnitudes;
  at::Tensor bits = (magnitudes ? flat.abs() : flat).view(at::kInt);
  if (!magnitudes) {  // an arithmetic shift turns the sign into a mask
    bits = bits.bitwise_xor(bits.bitwise_right_shift(31).bitwise_and_(0x7fffffff));
  }
  // ordered_bits() as signed integers: bin 0 begins at -kBins / 2
  const int64_t first = int64_t{rule.high} - (kBins >> 1);
  const at::Tensor bins = rule.low ? bits.sub(first * kBins) : bits.bitwise_right_shift(16).add_(kBins >> 1);
  counts_[0].add_(at::histc(bins, kBins + 1, 0, kBins + 1));
}

}  // namespace fusegrid
