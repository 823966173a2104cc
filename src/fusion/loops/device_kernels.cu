#include <algorithm>
#include <type_traits>

#include <cuda_runtime.h>

#include "core/errors.h"
#include "core/philox_rule.h"
#include "fusion/loops/device_kernels.h"

namespace fusegrid::device_kernels {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 2048;  // several waves of the largest GPUs; threads then stride

int blocks_for(int64_t elements) {
  return static_cast<int>(std::min(kMaxBlocks, (elements + kThreads - 1) / kThreads));
}

void check(cudaError_t error) {
  if (error != cudaSuccess) {
    throw DeviceError(std::string("a kernel could not be started: ") + cudaGetErrorString(error));
  }
}

__device__ int64_t first_index() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ int64_t stride() {
  return static_cast<int64_t>(gridDim.x) * blockDim.x;
}

// An entry of the vectors, for rules.
template <bool kMinus, bool kDrop>
struct DeviceEntry {
  const Vectors& vectors;
  int64_t place;
  float minus;
  const uint32_t* kept;  // the first vector's word with the entry
  int64_t words;         // from one vector's to the next one's

  __device__ DeviceEntry(const Vectors& all, int64_t elements, int64_t i)
      : vectors(all),
        place(i),
        minus(kMinus ? all.minus[i] : 0.0F),
        kept(kDrop ? all.kept + i / 32 : nullptr),
        words(kept_words(elements)) {}
  __device__ int count() const { return vectors.count; }
  __device__ float number(int i) const { return vectors.numbers[i]; }
  __device__ float operator()(int i) const {
    const float value = vectors.values[i][place];
    const float difference = kMinus ? value - minus : value;
    if (!kDrop) {
      return difference;
    }
    const bool stays = (kept[i * words] >> (place % 32) & 1) != 0;
    return difference * (stays ? vectors.factors[i] : 0.0F);
  }
};

// Calls use(minus, drop), of std::true_type or std::false_type each: which DeviceEntry the vectors need.
template <typename Use>
void with_entries_of(const Vectors& vectors, const Use& use) {
  const auto with_minus = [&](auto minus) {
    vectors.kept != nullptr ? use(minus, std::true_type{}) : use(minus, std::false_type{});
  };
  vectors.minus != nullptr ? with_minus(std::true_type{}) : with_minus(std::false_type{});
}

// What a block counts of the high bits, in its own memory: so few that two counters fit a word.
constexpr int kCountThreads = 1024;
constexpr int64_t kCountedByBlock = 60 * kCountThreads;
static_assert(kCountedByBlock < 1 << 16);
constexpr int kCountWords = kCountBins / 2;

struct HighBits {
  uint32_t of[kMaxVectors];
};

// One of the histogram's copies.
__device__ unsigned long long* counts_of_block(unsigned long long* counts) {
  return counts + (blockIdx.y * kCountCopies + blockIdx.x % kCountCopies) * kCountBins;
}

// Block (x, y) counts a part of vector number y, here and below.
template <bool kMinus, bool kDrop>
__global__ void count_high_kernel(const __grid_constant__ Vectors vectors, int64_t elements, Order order,
                                  unsigned long long* counts) {
  extern __shared__ unsigned int words[];  // [kCountWords]
  for (int word = threadIdx.x; word < kCountWords; word += blockDim.x) {
    words[word] = 0;
  }
  __syncthreads();
  const int vector = static_cast<int>(blockIdx.y);
  const int64_t begin = blockIdx.x * kCountedByBlock;
  const int64_t end = begin + kCountedByBlock < elements ? begin + kCountedByBlock : elements;
#pragma unroll 4
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
    const uint32_t bits = ordered_bits(DeviceEntry<kMinus, kDrop>(vectors, elements, i)(vector), order);
    atomicAdd(words + (bits >> 17), (bits >> 16) % 2 == 0 ? 1U : 1U << 16);
  }
  __syncthreads();
  unsigned long long* mine = counts_of_block(counts);
  for (int word = threadIdx.x; word < kCountWords; word += blockDim.x) {
    const unsigned int both = words[word];
    if ((both & 0xffffU) != 0) {
      atomicAdd(mine + 2 * word, static_cast<unsigned long long>(both & 0xffffU));
    }
    if (both >> 16 != 0) {
      atomicAdd(mine + 2 * word + 1, static_cast<unsigned long long>(both >> 16));
    }
  }
}

// Few numbers have the high bits, so that they are counted where the counts are; but those may all be one number, which
// a warp's threads count together.
template <bool kMinus, bool kDrop>
__global__ void count_low_kernel(const __grid_constant__ Vectors vectors, int64_t elements, Order order,
                                 const __grid_constant__ HighBits high, unsigned long long* counts) {
  unsigned long long* mine = counts_of_block(counts);
  const int vector = static_cast<int>(blockIdx.y);
  const uint32_t wanted = high.of[blockIdx.y];
  const unsigned lane = threadIdx.x % 32;
  for (int64_t warp = first_index() - lane; warp < elements; warp += stride()) {
    const int64_t i = warp + lane;
    const uint32_t bits =
        i < elements ? ordered_bits(DeviceEntry<kMinus, kDrop>(vectors, elements, i)(vector), order) : 0;
    const bool counted = i < elements && bits >> 16 == wanted;
    const unsigned all = __ballot_sync(0xffffffffU, counted);
    if (counted) {
      const unsigned same = __match_any_sync(all, bits);
      if (lane == static_cast<unsigned>(__ffs(static_cast<int>(same)) - 1)) {
        atomicAdd(mine + (bits & 0xffffU), static_cast<unsigned long long>(__popc(same)));
      }
    }
  }
}

template <bool kMinus, bool kDrop, typename Rule>
__global__ void apply_kernel(const __grid_constant__ Vectors vectors, int64_t elements, Rule rule,
                             float* out) {
  for (int64_t i = first_index(); i < elements; i += stride()) {
    out[i] = rule(DeviceEntry<kMinus, kDrop>(vectors, elements, i));
  }
}

template <bool kMinus, bool kDrop, typename Rule>
__global__ void apply_to_each_kernel(const __grid_constant__ Vectors vectors,
                                     const __grid_constant__ Each each, int64_t elements, Rule rule) {
  for (int64_t i = first_index(); i < elements; i += stride()) {
    const DeviceEntry<kMinus, kDrop> entry(vectors, elements, i);
    for (int vector = 0; vector < entry.count(); ++vector) {
      each.out[vector][i] = rule(entry, vector, [&](int k) { return each.shared[k][i]; });
    }
  }
}

template <bool kMinus, bool kDrop>
__global__ void sign_balance_kernel(const __grid_constant__ Vectors vectors, int64_t elements,
                                    unsigned long long* balance) {
  int mine = 0;
  for (int64_t i = first_index(); i < elements; i += stride()) {
    const float sum = TrimmedSum{}(DeviceEntry<kMinus, kDrop>(vectors, elements, i));
    mine += static_cast<int>(sum > 0) - static_cast<int>(sum < 0);
  }
  for (int offset = 16; offset > 0; offset /= 2) {
    mine += __shfl_down_sync(0xffffffffU, mine, offset);
  }
  if (threadIdx.x % 32 == 0) {
    // two's complement: adding a negative number wraps to the right sum
    atomicAdd(balance, static_cast<unsigned long long>(static_cast<long long>(mine)));
  }
}

int blocks_for_uniform(int64_t begin, int64_t count) {
  return blocks_for((begin + count + 3) / 4 - begin / 4);
}

// The key's numbers from `begin` on. A thread makes the four of a counter; through the block's memory they go to the
// threads whose entries lie side by side.
__global__ void fill_uniform_kernel(uint64_t key, uint64_t numbers, int64_t begin, int64_t count,
                                    float* out) {
  __shared__ PhiloxWords made[kThreads];
  const auto* words = reinterpret_cast<const uint32_t*>(made);
  const int64_t end = begin + count;
  for (int64_t part = blockIdx.x;; part += gridDim.x) {
    const int64_t counter = begin / 4 + part * kThreads;  // the block's first
    if (4 * counter >= end) {
      return;
    }
    made[threadIdx.x] = philox_words(key, numbers, static_cast<uint64_t>(counter) + threadIdx.x);
    __syncthreads();
    for (int word = threadIdx.x; word < 4 * kThreads; word += kThreads) {
      const int64_t element = 4 * counter + word;
      if (element >= begin && element < end) {
        out[element - begin] = unit_number(words[word]);
      }
    }
    __syncthreads();
  }
}

// Bit i: whether byte i of four is at least the rule's tie, or equal to it.
__device__ uint32_t at_least(uint32_t bytes, uint32_t ties) {
  return __vsetgeu4(bytes, ties) * 0x01020408U >> 24;
}
__device__ uint32_t equal(uint32_t bytes, uint32_t ties) {
  return __vseteq4(bytes, ties) * 0x01020408U >> 24;
}

constexpr int kEntriesOfCounter = 16;
constexpr int kEntriesOfWord = 32;

// Of a word's entries, which are the rule's from `begin` on, those that are at least its tie, and those that are equal
// to it.
__device__ void compare_with_tie(const DropRule& rule, int64_t begin, uint32_t& kept, uint32_t& tied) {
  const uint32_t ties = rule.tie * 0x01010101U;
  const int64_t skipped = begin % kEntriesOfCounter;
  uint64_t all_kept = 0;
  uint64_t all_tied = 0;
  for (int counter = 0; counter < (skipped == 0 ? 2 : 3); ++counter) {
    const PhiloxWords words =
        philox_words(rule.key, 0, static_cast<uint64_t>(begin / kEntriesOfCounter + counter));
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int place = counter * kEntriesOfCounter + 4 * i;
      all_kept |= static_cast<uint64_t>(at_least(words.words[i], ties)) << place;
      all_tied |= static_cast<uint64_t>(equal(words.words[i], ties)) << place;
    }
  }
  kept = static_cast<uint32_t>(all_kept >> skipped);
  tied = static_cast<uint32_t>(all_tied >> skipped);
}

// Block (x, y): words of vector number y, kThreads at a time. The few ties are spread over the threads: each costs as
// much as all else of a word.
__global__ void fill_kept_kernel(const __grid_constant__ Drops drops, int64_t words, uint32_t* kept) {
  __shared__ uint32_t stays[kThreads];
  __shared__ uint16_t tied_entries[kThreads * kEntriesOfWord];
  __shared__ int num_tied;
  const DropRule& rule = drops.rules[blockIdx.y];
  const int thread = static_cast<int>(threadIdx.x);
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * kThreads; first < words; first += stride()) {
    const int64_t begin = drops.begins[blockIdx.y] + kEntriesOfWord * first;
    if (thread == 0) {
      num_tied = 0;
    }
    __syncthreads();
    uint32_t mine = 0;
    uint32_t tied = 0;
    if (rule.tie <= 0xff) {  // below a rate of 1
      compare_with_tie(rule, begin + kEntriesOfWord * thread, mine, tied);
    }
    stays[thread] = mine;
    if (rule.rest > 0) {
      for (; tied != 0; tied &= tied - 1) {
        tied_entries[atomicAdd(&num_tied, 1)] =
            static_cast<uint16_t>(thread * kEntriesOfWord + __ffs(static_cast<int>(tied)) - 1);
      }
    }
    __syncthreads();
    for (int i = thread; i < num_tied; i += kThreads) {
      const int entry = tied_entries[i];
      if (!rule.keeps_tie(begin + entry)) {
        atomicAnd(&stays[entry / kEntriesOfWord], ~(1U << entry % kEntriesOfWord));
      }
    }
    __syncthreads();
    if (first + thread < words) {
      kept[blockIdx.y * words + first + thread] = stays[thread];
    }
  }
}

}  // namespace

void count_bits(const Vectors& vectors, int64_t elements, const CountRule* rules, int64_t* counts,
                void* stream) {
  if (elements == 0) {
    return;  // a grid has at least one block
  }
  auto* unsigned_counts = reinterpret_cast<unsigned long long*>(counts);
  const auto on = static_cast<cudaStream_t>(stream);
  const auto num_vectors = static_cast<unsigned>(vectors.count);
  if (rules[0].low) {
    HighBits high{};
    for (int i = 0; i < vectors.count; ++i) {
      high.of[i] = rules[i].high;
    }
    const dim3 grid(static_cast<unsigned>(blocks_for(elements)), num_vectors);
    with_entries_of(vectors, [&](auto minus, auto drop) {
      count_low_kernel<minus.value, drop.value>
          <<<grid, kThreads, 0, on>>>(vectors, elements, rules[0].order, high, unsigned_counts);
    });
  } else {
    constexpr int kBytes = kCountWords * sizeof(unsigned int);
    const dim3 grid(static_cast<unsigned>((elements + kCountedByBlock - 1) / kCountedByBlock), num_vectors);
    with_entries_of(vectors, [&](auto minus, auto drop) {
      const auto kernel = count_high_kernel<minus.value, drop.value>;
      check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
      kernel<<<grid, kCountThreads, kBytes, on>>>(vectors, elements, rules[0].order, unsigned_counts);
    });
  }
  check(cudaGetLastError());
}

void add_sign_balance(const Vectors& vectors, int64_t elements, int64_t* balance, void* stream) {
  if (elements == 0) {
    return;
  }
  with_entries_of(vectors, [&](auto minus, auto drop) {
    sign_balance_kernel<minus.value, drop.value>
        <<<blocks_for(elements), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
            vectors, elements, reinterpret_cast<unsigned long long*>(balance));
  });
  check(cudaGetLastError());
}

template <typename Rule>
void apply(const Vectors& vectors, int64_t elements, const Rule& rule, float* out, void* stream) {
  if (elements == 0) {
    return;
  }
  with_entries_of(vectors, [&](auto minus, auto drop) {
    apply_kernel<minus.value, drop.value>
        <<<blocks_for(elements), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(vectors, elements, rule,
                                                                                   out);
  });
  check(cudaGetLastError());
}

template <typename Rule>
void apply_to_each(const Vectors& vectors, const Each& each, int64_t elements, const Rule& rule,
                   void* stream) {
  if (elements == 0) {
    return;
  }
  with_entries_of(vectors, [&](auto minus, auto drop) {
    apply_to_each_kernel<minus.value, drop.value>
        <<<blocks_for(elements), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(vectors, each, elements,
                                                                                   rule);
  });
  check(cudaGetLastError());
}

template void apply(const Vectors&, int64_t, const Sum&, float*, void*);
template void apply(const Vectors&, int64_t, const Mean&, float*, void*);
template void apply(const Vectors&, int64_t, const WeightedSum&, float*, void*);
template void apply(const Vectors&, int64_t, const AddScaled&, float*, void*);
template void apply(const Vectors&, int64_t, const TrimmedSum&, float*, void*);
template void apply(const Vectors&, int64_t, const Largest&, float*, void*);
template void apply(const Vectors&, int64_t, const SumOfProducts&, float*, void*);
template void apply(const Vectors&, int64_t, const MergeAgreeing<AgreeingMerge::kSum>&, float*, void*);
template void apply(const Vectors&, int64_t, const MergeAgreeing<AgreeingMerge::kMean>&, float*, void*);
template void apply(const Vectors&, int64_t, const MergeAgreeing<AgreeingMerge::kMax>&, float*, void*);
template void apply(const Vectors&, int64_t, const MergeAgreeingWeighted<false>&, float*, void*);
template void apply(const Vectors&, int64_t, const MergeAgreeingWeighted<true>&, float*, void*);
template void apply(const Vectors&, int64_t, const MeanOfChanges&, float*, void*);
template void apply_to_each(const Vectors&, const Each&, int64_t, const AgreeingPart&, void*);
template void apply_to_each(const Vectors&, const Each&, int64_t, const AddAgreeingPart&, void*);

void fill_uniform(uint64_t key, uint64_t numbers, int64_t begin, int64_t count, float* out, void* stream) {
  if (count > 0) {
    fill_uniform_kernel<<<blocks_for_uniform(begin, count), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
        key, numbers, begin, count, out);
    check(cudaGetLastError());
  }
}

void fill_kept(const Drops& drops, int vectors, int64_t elements, uint32_t* kept, void* stream) {
  if (elements == 0) {
    return;
  }
  const int64_t words = kept_words(elements);
  const dim3 grid(static_cast<unsigned>(blocks_for(words)), static_cast<unsigned>(vectors));
  fill_kept_kernel<<<grid, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(drops, words, kept);
  check(cudaGetLastError());
}

}  // namespace fusegrid::device_kernels
