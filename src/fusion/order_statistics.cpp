#include "fusion/order_statistics.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <optional>
#include <span>

#include <ATen/TensorOperators.h>
#include <ATen/ops/bitwise_and.h>
#include <ATen/ops/bitwise_right_shift.h>
#include <ATen/ops/bitwise_xor.h>
#include <ATen/ops/histc.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>

#include "core/errors.h"
#include "fusion/device_kernels.h"
#include "fusion/number_window.h"
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
void count_on_cpu(const SliceVector& vector, CountRule rule, int64_t* counts) {
  constexpr int64_t kChunk = ChunkReader::kChunk;
  const ChunkReader reader(vector);
  float scratch[kChunk];
  uint32_t bits[kChunk];
  uint32_t bins[kChunk];
  for (int64_t begin = 0; begin < reader.size(); begin += kChunk) {
    const int64_t count = std::min(kChunk, reader.size() - begin);
    const float* values = reader.read(begin, count, scratch);
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

// What is looked for, and what was found.
struct Target {
  size_t vector = 0;
  int64_t k = 0;
  std::optional<float> value = {};
};

// -- two passes over everything

struct Histogram {
  size_t vector = 0;
  CountRule rule;
};

// One pass, a row of kBins counts for each histogram.
std::vector<int64_t> count_all(Engine& engine, const std::vector<Histogram>& histograms,
                               const SliceVectors& vectors) {
  std::vector<int64_t> counts(histograms.size() * kStride, 0);
  std::vector<DeviceCounts> on_device(histograms.size());
  engine.for_each_slice([&](const Slice& slice) {
    const std::vector<SliceVector> all = vectors(slice);
    for (size_t j = 0; j < histograms.size() && !all.empty(); ++j) {
      const SliceVector& vector = all[histograms[j].vector];
      if (vector.values.is_cpu()) {
        count_on_cpu(vector, histograms[j].rule, &counts[j * kStride]);
      } else {
        on_device[j].add(vector.tensor(), histograms[j].rule);
      }
    }
  });
  for (size_t j = 0; j < histograms.size(); ++j) {
    on_device[j].move_to(&counts[j * kStride]);
  }
  engine.sum_over_ranks(counts);
  return counts;
}

void search_by_halves(Engine& engine, Order order, std::vector<Target*> targets,
                      const SliceVectors& vectors) {
  std::vector<Histogram> high;
  for (const Target* target : targets) {
    high.push_back({target->vector, {order}});
  }
  const auto high_counts = count_all(engine, high, vectors);
  std::vector<int64_t> ranks;
  std::vector<Histogram> low;
  for (size_t j = 0; j < targets.size(); ++j) {
    ranks.push_back(targets[j]->k);
    const size_t bin = find_bin(&high_counts[j * kStride], kStride, ranks[j]);
    low.push_back({targets[j]->vector, {order, true, static_cast<uint32_t>(bin)}});
  }
  const auto low_counts = count_all(engine, low, vectors);
  for (size_t j = 0; j < targets.size(); ++j) {
    const size_t bin = find_bin(&low_counts[j * kStride], kStride, ranks[j]);
    targets[j]->value = from_ordered_bits(low[j].rule.high << 16 | static_cast<uint32_t>(bin));
  }
}

// -- a sample and one pass

// Where, among all float32 numbers in their order, the sample has the part `k / elements` of a vector below it.
int64_t place_in_sample(std::span<const int64_t> histogram, double share) {
  const auto total = std::accumulate(histogram.begin(), histogram.end(), int64_t{0});
  const double rank = std::clamp(share, 0.0, 1.0) * static_cast<double>(total);
  double below = 0;
  for (size_t bin = 0; bin < histogram.size(); ++bin) {
    const auto inside = static_cast<double>(histogram[bin]);
    if (inside > 0 && below + inside >= rank) {
      return static_cast<int64_t>((static_cast<double>(bin) + (rank - below) / inside) * kBins);
    }
    below += inside;
  }
  return 0;
}

std::vector<NumberWindow> place_windows(Engine& engine, Order order, size_t width,
                                        const std::vector<Target>& targets, const SliceVectors& vectors) {
  std::vector<int64_t> counts(width * kStride, 0);
  std::vector<int64_t> sizes{0, 0};  // of the sample: all elements, those that take part
  engine.for_each_sample([&](const Slice& slice) {
    const auto all = vectors(slice);
    sizes[0] += slice.count;
    sizes[1] += all.empty() ? 0 : slice.count;
    for (size_t i = 0; i < all.size(); ++i) {
      count_on_cpu(all[i], {order}, &counts[i * kStride]);
    }
  });
  engine.sum_over_ranks(counts);
  engine.sum_over_ranks(sizes);
  const auto& infos = engine.tensors();
  const auto elements =
      std::accumulate(infos.begin(), infos.end(), int64_t{0},
                      [](int64_t sum, const TensorInfo& info) { return sum + info.numel(); });
  const double part = static_cast<double>(sizes[1]) / static_cast<double>(std::max(sizes[0], int64_t{1}));
  std::vector<NumberWindow> windows;
  for (const Target& target : targets) {
    const double share = static_cast<double>(target.k) / std::max(1.0, static_cast<double>(elements) * part);
    windows.emplace_back(order, place_in_sample({&counts[target.vector * kStride], kStride}, share));
  }
  return windows;
}

void search_windows(Engine& engine, Order order, size_t width, std::vector<Target>& targets,
                    const SliceVectors& vectors) {
  std::vector<NumberWindow> windows = place_windows(engine, order, width, targets, vectors);
  engine.for_each_slice([&](const Slice& slice) {
    const auto all = vectors(slice);
    for (size_t j = 0; j < targets.size() && !all.empty(); ++j) {
      windows[j].add(ChunkReader(all[targets[j].vector]));
    }
  });
  for (size_t j = 0; j < targets.size(); ++j) {
    auto counts = windows[j].counts();
    engine.sum_over_ranks(counts);
    if (const auto bits = windows[j].find(counts, targets[j].k)) {
      targets[j].value = from_ordered_bits(*bits);
    }
  }
}

}  // namespace

std::vector<std::vector<float>> kth_smallest(Engine& engine, Order order, size_t width,
                                             const std::vector<int64_t>& ks, const SliceVectors& vectors) {
  std::vector<Target> targets;
  for (size_t i = 0; i < width; ++i) {
    for (const int64_t k : ks) {
      targets.push_back({i, k});
    }
  }
  if (engine.device().is_cpu()) {
    search_windows(engine, order, width, targets, vectors);
  }
  std::vector<Target*> missed;
  for (Target& target : targets) {
    if (!target.value) {
      missed.push_back(&target);
    }
  }
  if (!missed.empty()) {
    search_by_halves(engine, order, missed, vectors);
  }
  std::vector<std::vector<float>> found(width);
  for (const Target& target : targets) {
    found[target.vector].push_back(*target.value);
  }
  return found;
}

}  // namespace fusegrid
