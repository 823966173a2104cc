#include <algorithm>

#include <cuda_runtime.h>

#include "core/errors.h"
#include "core/philox_rule.h"
#include "fusion/device_kernels.h"

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
template <bool kMinus>
struct DeviceEntry {
  const Vectors& vectors;
  int64_t place;
  float minus;

  __device__ DeviceEntry(const Vectors& all, int64_t i)
      : vectors(all), place(i), minus(kMinus ? all.minus[i] : 0.0F) {}
  __device__ int count() const { return vectors.count; }
  __device__ float number(int i) const { return vectors.numbers[i]; }
  __device__ float operator()(int i) const {
    const float value = vectors.values[i][place];
    return kMinus ? value - minus : value;
  }
};

// What a block counts, in its own memory: so few that two counters fit a word.
constexpr int kCountThreads = 1024;
constexpr int64_t kCountedByBlock = 60 * kCountThreads;
static_assert(kCountedByBlock < 1 << 16);
constexpr int kCountWords = kCountBins / 2;

struct HighBits {
  uint32_t of[kMaxVectors];
};

// Block (x, y) counts a part of vector number y.
__global__ void count_bits_kernel(const __grid_constant__ Vectors vectors, int64_t elements, Order order,
                                  bool low, const __grid_constant__ HighBits high,
                                  unsigned long long* counts) {
  extern __shared__ unsigned int words[];  // [kCountWords]
  for (int word = threadIdx.x; word < kCountWords; word += blockDim.x) {
    words[word] = 0;
  }
  __syncthreads();
  const float* values = vectors.values[blockIdx.y];
  const float* minus = vectors.minus;
  const uint32_t wanted = high.of[blockIdx.y];
  const int64_t begin = blockIdx.x * kCountedByBlock;
  const int64_t end = begin + kCountedByBlock < elements ? begin + kCountedByBlock : elements;
#pragma unroll 4
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
    const uint32_t bits = ordered_bits(minus != nullptr ? values[i] - minus[i] : values[i], order);
    if (!low || bits >> 16 == wanted) {
      const uint32_t bin = low ? bits & 0xffffU : bits >> 16;
      atomicAdd(words + bin / 2, bin % 2 == 0 ? 1U : 1U << 16);
    }
  }
  __syncthreads();
  unsigned long long* mine = counts + (blockIdx.y * kCountCopies + blockIdx.x % kCountCopies) * kCountBins;
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

template <bool kMinus, typename Rule>
__global__ void apply_kernel(const __grid_constant__ Vectors vectors, int64_t elements, Rule rule,
                             float* out) {
  for (int64_t i = first_index(); i < elements; i += stride()) {
    out[i] = rule(DeviceEntry<kMinus>(vectors, i));
  }
}

template <bool kMinus>
__global__ void sign_balance_kernel(const __grid_constant__ Vectors vectors, int64_t elements,
                                    unsigned long long* balance) {
  int mine = 0;
  for (int64_t i = first_index(); i < elements; i += stride()) {
    const float sum = TrimmedSum{}(DeviceEntry<kMinus>(vectors, i));
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

// Calls use(i, number) for the uniform numbers of entries i = 0, ... count - 1, which are the key's from `begin` on. A thread
// makes the four numbers of a counter; through the block's memory they go to the threads whose entries lie side by side.
template <typename Use>
__device__ void for_each_uniform(uint64_t key, uint64_t numbers, int64_t begin, int64_t count,
                                 const Use& use) {
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
        use(element - begin, unit_number(words[word]));
      }
    }
    __syncthreads();
  }
}

int blocks_for_uniform(int64_t begin, int64_t count) {
  return blocks_for((begin + count + 3) / 4 - begin / 4);
}

__global__ void fill_uniform_kernel(uint64_t key, uint64_t numbers, int64_t begin, int64_t count,
                                    float* out) {
  for_each_uniform(key, numbers, begin, count, [&](int64_t i, float number) { out[i] = number; });
}

__global__ void drop_at_random_kernel(const float* values, const float* minus, int64_t elements,
                                      DropRule rule, float* out) {
  for_each_uniform(rule.key, 0, rule.begin, elements, [&](int64_t i, float number) {
    const float value = minus != nullptr ? values[i] - minus[i] : values[i];
    out[i] = value * (number >= rule.rate ? 1.0F : 0.0F) * rule.factor;
  });
}

}  // namespace

void count_bits(const Vectors& vectors, int64_t elements, const CountRule* rules, int64_t* counts,
                void* stream) {
  if (elements == 0) {
    return;  // a grid has at least one block
  }
  HighBits high{};
  for (int i = 0; i < vectors.count; ++i) {
    high.of[i] = rules[i].high;
  }
  constexpr int kBytes = kCountWords * sizeof(unsigned int);
  check(cudaFuncSetAttribute(count_bits_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
  const dim3 grid(static_cast<unsigned>((elements + kCountedByBlock - 1) / kCountedByBlock),
                  static_cast<unsigned>(vectors.count));
  count_bits_kernel<<<grid, kCountThreads, kBytes, static_cast<cudaStream_t>(stream)>>>(
      vectors, elements, rules[0].order, rules[0].low, high, reinterpret_cast<unsigned long long*>(counts));
  check(cudaGetLastError());
}

void add_sign_balance(const Vectors& vectors, int64_t elements, int64_t* balance, void* stream) {
  if (elements == 0) {
    return;
  }
  const auto kernel = vectors.minus != nullptr ? sign_balance_kernel<true> : sign_balance_kernel<false>;
  kernel<<<blocks_for(elements), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      vectors, elements, reinterpret_cast<unsigned long long*>(balance));
  check(cudaGetLastError());
}

template <typename Rule>
void apply(const Vectors& vectors, int64_t elements, const Rule& rule, float* out, void* stream) {
  if (elements == 0) {
    return;
  }
  const auto kernel = vectors.minus != nullptr ? apply_kernel<true, Rule> : apply_kernel<false, Rule>;
  kernel<<<blocks_for(elements), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(vectors, elements, rule,
                                                                                   out);
  check(cudaGetLastError());
}

template void apply(const Vectors&, int64_t, const Sum&, float*, void*);
template void apply(const Vectors&, int64_t, const Mean&, float*, void*);
template void apply(const Vectors&, int64_t, const WeightedSum&, float*, void*);
template void apply(const Vectors&, int64_t, const AddScaled&, float*, void*);
template void apply(const Vectors&, int64_t, const TrimmedSum&, float*, void*);
template void apply(const Vectors&, int64_t, const Largest&, float*, void*);
template void apply(const Vectors&, int64_t, const AgreeingPart&, float*, void*);
template void apply(const Vectors&, int64_t, const AddAgreeingPart&, float*, void*);
template void apply(const Vectors&, int64_t, const SumOfProducts&, float*, void*);
template void apply(const Vectors&, int64_t, const MergeAgreeing<AgreeingMerge::kSum>&, float*, void*);
template void apply(const Vectors&, int64_t, const MergeAgreeing<AgreeingMerge::kMean>&, float*, void*);
template void apply(const Vectors&, int64_t, const MergeAgreeing<AgreeingMerge::kMax>&, float*, void*);
template void apply(const Vectors&, int64_t, const MergeAgreeingWeighted<false>&, float*, void*);
template void apply(const Vectors&, int64_t, const MergeAgreeingWeighted<true>&, float*, void*);
template void apply(const Vectors&, int64_t, const MeanOfChanges&, float*, void*);

void fill_uniform(uint64_t key, uint64_t numbers, int64_t begin, int64_t count, float* out, void* stream) {
  if (count > 0) {
    fill_uniform_kernel<<<blocks_for_uniform(begin, count), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
        key, numbers, begin, count, out);
    check(cudaGetLastError());
  }
}

void drop_at_random(const float* values, const float* minus, int64_t elements, const DropRule& rule,
                    float* out, void* stream) {
  if (elements > 0) {
    drop_at_random_kernel<<<blocks_for_uniform(rule.begin, elements), kThreads, 0,
                            static_cast<cudaStream_t>(stream)>>>(values, minus, elements, rule, out);
    check(cudaGetLastError());
  }
}

}  // namespace fusegrid::device_kernels
