#include "fusion/order_statistics.h"

#include <algorithm>
#include <bit>

#include <ATen/TensorOperators.h>
#include <ATen/ops/bitwise_and.h>
#include <ATen/ops/bitwise_right_shift.h>
#include <ATen/ops/bitwise_xor.h>
#include <ATen/ops/histc.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>

#include "core/errors.h"
#include "fusion/device_kernels.h"
#include "fusion/stream_device.h"

namespace fusegrid {
namespace {

// 16 high bits of ordered_bits() choose a bin, the 16 low ones a value in it.
using device_kernels::CountRule;
constexpr int64_t kBins = device_kernels::kCountBins;
constexpr auto kStride = static_cast<size_t>(kBins);

float from_ordered_bits(uint32_t bits) {
  return std::bit_cast<float>(bits >> 31 != 0 ? bits & 0x7fffffffU : ~bits);
}

// In chunks, so that the bits stay in the innermost cache and their making becomes vector instructions.
void count_on_cpu(const at::Tensor& values, CountRule rule, int64_t* counts) {
  constexpr int64_t kChunk = 2048;
  const at::Tensor contiguous = values.contiguous();
  const auto* data = contiguous.const_data_ptr<float>();
  const int64_t elements = contiguous.numel();
  uint32_t bits[kChunk];
  uint32_t bins[kChunk];
  for (int64_t done = 0; done < elements; done += kChunk) {
    const int64_t count = std::min(kChunk, elements - done);
    for (int64_t i = 0; i < count; ++i) {
      bits[i] = ordered_bits(data[done + i], rule.order);
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
}

// A histogram on the device; adding to it does not wait for anything.
class DeviceCounts {
 public:
  void add(const at::Tensor& values, CountRule rule) {
    if (!counts_.defined()) {
      counts_ = at::zeros({copies(), kBins + kBeyond}, values.options().dtype(at::kLong));
    }
    const at::Tensor flat = values.contiguous().view({-1});
    if constexpr (device_kernels::kCompiled) {
      device_kernels::count_bits(flat.const_data_ptr<float>(), flat.numel(), rule,
                                 counts_.mutable_data_ptr<int64_t>(),
                                 current_stream(flat.device()).native_handle());
    } else {
      add_op_by_op(flat, rule);
    }
  }

  void move_to(int64_t* counts) const {
    if (counts_.defined()) {
      const at::Tensor host = counts_.sum(0).cpu();
      std::copy_n(host.const_data_ptr<int64_t>(), kBins, counts);
    }
  }

 private:
  static constexpr int64_t kBeyond = device_kernels::kCompiled ? 0 : 1;
  static int64_t copies() { return device_kernels::kCompiled ? device_kernels::kCountCopies : 1; }

  // histc leaves out what lies beyond its bounds, but counts the upper one: a bin more than are of use.
  void add_op_by_op(const at::Tensor& flat, CountRule rule) {
    const bool magnitudes = rule.order == Order::kMagnitudes;
    at::Tensor bits = (magnitudes ? flat.abs() : flat).view(at::kInt);
    if (!magnitudes) {  // an arithmetic shift turns the sign into a mask
      bits = bits.bitwise_xor(bits.bitwise_right_shift(31).bitwise_and_(0x7fffffff));
    }
    // ordered_bits() as signed integers: bin 0 begins at -kBins / 2
    const int64_t first = int64_t{rule.high} - (kBins >> 1);
    const at::Tensor bins =
        rule.low ? bits.sub(first * kBins) : bits.bitwise_right_shift(16).add_(kBins >> 1);
    counts_[0].add_(at::histc(bins, kBins + 1, 0, kBins + 1));
  }

  at::Tensor counts_;
};

// The bin of a histogram that holds its `rank`-th entry (from 1); `rank` becomes the rank inside that bin.
uint32_t find_bin(const int64_t* counts, int64_t& rank) {
  uint32_t bin = 0;
  for (; rank > counts[bin]; ++bin) {
    FUSEGRID_ASSERT(bin + 1 < kBins, "fewer entries than k");
    rank -= counts[bin];
  }
  return bin;
}

// One pass: a histogram for each of `rules`, where rule j counts in vector j / rules_of_vector.
std::vector<int64_t> histograms(Engine& engine, const std::vector<CountRule>& rules, size_t rules_of_vector,
                                const std::function<std::vector<at::Tensor>(const Slice&)>& vectors) {
  std::vector<int64_t> counts(rules.size() * kStride, 0);
  std::vector<DeviceCounts> on_device(rules.size());
  engine.for_each_slice([&](const Slice& slice) {
    const std::vector<at::Tensor> values = vectors(slice);
    for (size_t j = 0; j < rules.size() && !values.empty(); ++j) {
      const at::Tensor& vector = values[j / rules_of_vector];
      if (vector.is_cpu()) {
        count_on_cpu(vector, rules[j], &counts[j * kStride]);
      } else {
        on_device[j].add(vector, rules[j]);
      }
    }
  });
  for (size_t j = 0; j < rules.size(); ++j) {
    on_device[j].move_to(&counts[j * kStride]);
  }
  engine.sum_over_ranks(counts);
  return counts;
}

}  // namespace

std::vector<std::vector<float>> kth_smallest(
    Engine& engine, Order order, size_t width, const std::vector<int64_t>& ks,
    const std::function<std::vector<at::Tensor>(const Slice&)>& vectors) {
  const auto high = histograms(engine, std::vector<CountRule>(width, {order}), 1, vectors);
  std::vector<int64_t> ranks;
  std::vector<CountRule> rules;
  for (size_t i = 0; i < width; ++i) {
    for (const int64_t k : ks) {
      ranks.push_back(k);
      rules.push_back({order, true, find_bin(&high[i * kStride], ranks.back())});
    }
  }
  const auto low = histograms(engine, rules, ks.size(), vectors);
  std::vector<std::vector<float>> found(width);
  for (size_t j = 0; j < rules.size(); ++j) {
    const uint32_t bits = rules[j].high << 16 | find_bin(&low[j * kStride], ranks[j]);
    found[j / ks.size()].push_back(from_ordered_bits(bits));
  }
  return found;
}

}  // namespace fusegrid
