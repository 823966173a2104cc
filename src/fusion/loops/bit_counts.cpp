#include "fusion/loops/bit_counts.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/bitwise_and.h>
#include <ATen/ops/bitwise_right_shift.h>
#include <ATen/ops/bitwise_xor.h>
#include <ATen/ops/histc.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "fusion/loops/entry_loops.h"

namespace fusegrid {
namespace {

constexpr int64_t kCopies = device_kernels::kCompiled ? device_kernels::kCountCopies : 1;
// histc leaves out what lies beyond its bounds, but counts the upper one: a bin more than are of use.
constexpr int64_t kBeyond = device_kernels::kCompiled ? 0 : 1;

std::vector<int64_t> on_host(const at::Tensor& numbers) {
  const at::Tensor host = numbers.cpu().contiguous();
  return {host.const_data_ptr<int64_t>(), host.const_data_ptr<int64_t>() + host.numel()};
}

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

DeviceCounts::DeviceCounts(std::vector<CountRule> rules) : rules_(std::move(rules)) {}

void DeviceCounts::add(const std::vector<SliceVector>& vectors) {
  const auto num_rules = static_cast<int64_t>(rules_.size());
  if (!counts_.defined()) {
    counts_ = at::zeros({num_rules, kCopies, kBins + kBeyond}, vectors[0].values.options().dtype(at::kLong));
  }
  if constexpr (device_kernels::kCompiled) {
    for (size_t first = 0; first < vectors.size(); first += device_kernels::kMaxVectors) {
      const auto begin = vectors.begin() + static_cast<int64_t>(first);
      const auto end = begin + std::min<int64_t>(device_kernels::kMaxVectors, vectors.end() - begin);
      const DeviceVectors some({begin, end}, {});
      device_kernels::count_bits(some.all, vectors[0].values.numel(), &rules_[first],
                                 counts_[static_cast<int64_t>(first)].mutable_data_ptr<int64_t>(),
                                 current_stream(counts_.device()).native_handle());
    }
  } else {
    for (size_t i = 0; i < vectors.size(); ++i) {
      add_op_by_op(vectors[i].tensor().reshape({-1}), i);
    }
  }
}

at::Tensor DeviceCounts::sums() const {
  if (!counts_.defined()) {  // nothing was added
    return at::zeros({static_cast<int64_t>(rules_.size()), kBins}, at::TensorOptions(at::kLong));
  }
  return counts_.sum(1).narrow(1, 0, kBins);
}

std::vector<int64_t> DeviceCounts::group_sums(int64_t size) const {
  return on_host(sums().reshape({-1, size}).sum(1));
}

std::vector<int64_t> DeviceCounts::bins(const std::vector<int64_t>& groups, int64_t size) const {
  const at::Tensor rows = sums().reshape({-1, size});
  return on_host(rows.index_select(0, at::tensor(groups, at::TensorOptions(at::kLong)).to(rows.device())));
}

void DeviceCounts::add_op_by_op(const at::Tensor& flat, size_t index) {
  const CountRule& rule = rules_[index];
  const bool magnitudes = rule.order == Order::kMagnitudes;
  at::Tensor bits = (magnitudes ? flat.abs() : flat).view(at::kInt);
  if (!magnitudes) {  // an arithmetic shift turns the sign into a mask
    bits = bits.bitwise_xor(bits.bitwise_right_shift(31).bitwise_and_(0x7fffffff));
  }
  // ordered_bits() as signed integers: bin 0 begins at -kBins / 2
  const int64_t first = int64_t{rule.high} - (kBins >> 1);
  const at::Tensor bins = rule.low ? bits.sub(first * kBins) : bits.bitwise_right_shift(16).add_(kBins >> 1);
  counts_[static_cast<int64_t>(index)][0].add_(at::histc(bins, kBins + 1, 0, kBins + 1));
}

}  // namespace fusegrid
