// Fused loops for NVIDIA GPUs: one trip through memory where op by op takes ten. Compiled where CUDA's compiler is
// found (FUSEGRID_WITH_KERNELS); without it the same rules run op by op, with the same results. No CUDA type in this
// header.
#pragma once

#include <cstdint>

#include "fusion/loops/entry_rules.h"
#include "fusion/loops/ordered_bits.h"
#include "fusion/passes/drop_rule.h"

namespace fusegrid::device_kernels {

#ifdef FUSEGRID_WITH_KERNELS
constexpr bool kCompiled = true;
#else
constexpr bool kCompiled = false;
#endif

// Vectors of equal length on the device, what is subtracted from each or nullptr, and a number for each.
constexpr int kMaxVectors = 144;  // they travel as arguments of a kernel, which are 4 KB
struct Vectors {
  const float* values[kMaxVectors];
  float numbers[kMaxVectors];
  const float* minus;
  // Which entries are not dropped at random, [vectors][kept_words(elements)] by fill_kept(), or nullptr; times a
  // factor.
  const uint32_t* kept;
  float factors[kMaxVectors];
  int count;
};

// All pointers are the device's; `stream` is a cudaStream_t. The calls return before the work is done. Throw
// DeviceError.

// Which bits of ordered_bits() a histogram counts: the high 16, or the low 16 of those numbers whose high bits are
// `high`.
struct CountRule {
  Order order = Order::kValues;
  bool low = false;
  uint32_t high = 0;
};
// Adds to a histogram of each vector; `numbers` are of no use, rules alike but for `high`. A histogram is kept in
// kCountCopies copies, whose sum counts: where values crowd in a few bins, blocks that meet there wait. counts:
// [vectors][kCountCopies][kCountBins].
constexpr int64_t kCountCopies = 4;
constexpr int64_t kCountBins = int64_t{1} << 16;
void count_bits(const Vectors& vectors, int64_t elements, const CountRule* rules, int64_t* counts,
                void* stream);

// Adds the number of positive entries of the vectors' TrimmedSum less the number of negative ones.
void add_sign_balance(const Vectors& vectors, int64_t elements, int64_t* balance, void* stream);

// The results of a rule of entry_rules.h; instances are at the end of device_kernels.cu.
template <typename Rule>
void apply(const Vectors& vectors, int64_t elements, const Rule& rule, float* out, void* stream);

// What rules for each vector read of all, and where their results go.
constexpr int kMaxShared = 2;
struct Each {
  const float* shared[kMaxShared];
  float* out[kMaxVectors];
};
template <typename Rule>
void apply_to_each(const Vectors& vectors, const Each& each, int64_t elements, const Rule& rule,
                   void* stream);

// The numbers of fill_uniform() of core/philox.h.
void fill_uniform(uint64_t key, uint64_t numbers, int64_t begin, int64_t count, float* out, void* stream);

// Bit e % 32 of a vector's word e / 32: whether its entry e stays, which is entry begin + e of the rule's.
struct Drops {
  DropRule rules[kMaxVectors];
  int64_t begins[kMaxVectors];
};
FUSEGRID_HOST_DEVICE inline int64_t kept_words(int64_t elements) {
  return (elements + 31) / 32;
}
void fill_kept(const Drops& drops, int vectors, int64_t elements, uint32_t* kept, void* stream);

}  // namespace fusegrid::device_kernels
