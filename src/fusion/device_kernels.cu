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

void check_launch() {
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) {
    throw DeviceError(std::string("a kernel could not be started: ") + cudaGetErrorString(error));
  }
}

__device__ int64_t first_index() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ int64_t stride() {
  return static_cast<int64_t>(gridDim.x) * blockDim.x;
}

__global__ void count_bits_kernel(const float* values, int64_t elements, CountRule rule,
                                  unsigned long long* counts) {
  unsigned long long* mine = counts + blockIdx.x % kCountCopies * kCountBins;
  for (int64_t i = first_index(); i < elements; i += stride()) {
    const uint32_t bits = ordered_bits(values[i], rule.order);
    if (!rule.low) {
      atomicAdd(mine + (bits >> 16), 1ULL);
    } else if (bits >> 16 == rule.high) {
      atomicAdd(mine + (bits & 0xffffU), 1ULL);
    }
  }
}

// In the order of the vectors, as the CPU adds.
__device__ float trimmed_sum(const Vectors& vectors, int64_t i) {
  float sum = trimmed_value(vectors.values[0][i], vectors.thresholds[0]);
  for (int k = 1; k < vectors.count; ++k) {
    sum += trimmed_value(vectors.values[k][i], vectors.thresholds[k]);
  }
  return sum;
}

__global__ void sign_balance_kernel(const __grid_constant__ Vectors vectors, int64_t elements,
                                    unsigned long long* balance) {
  int mine = 0;
  for (int64_t i = first_index(); i < elements; i += stride()) {
    const float sum = trimmed_sum(vectors, i);
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

__global__ void merge_agreeing_kernel(const __grid_constant__ Vectors vectors, int64_t elements,
                                      bool positive_majority, AgreeingMerge merge, float* merged) {
  for (int64_t i = first_index(); i < elements; i += stride()) {
    const float sign = elected_sign(trimmed_sum(vectors, i), positive_majority);
    float result = 0;
    float entries = 0;
    for (int k = 0; k < vectors.count; ++k) {
      const float value = agreeing_value(trimmed_value(vectors.values[k][i], vectors.thresholds[k]), sign);
      if (merge == AgreeingMerge::kMax) {
        result = fabsf(value) > fabsf(result) ? value : result;
      } else {
        result += value;
        entries += value != 0 ? 1.0F : 0.0F;
      }
    }
    merged[i] = merge == AgreeingMerge::kMean ? result / fmaxf(entries, 1.0F) : result;
  }
}

// A thread makes the four numbers of a counter.
__global__ void fill_uniform_kernel(uint64_t key, uint64_t numbers, int64_t begin, int64_t count, float* out) {
  const int64_t end = begin + count;
  for (int64_t counter = begin / 4 + first_index(); 4 * counter < end; counter += stride()) {
    const PhiloxWords random = philox_words(key, numbers, static_cast<uint64_t>(counter));
    for (int word = 0; word < 4; ++word) {
      const int64_t element = 4 * counter + word;
      if (element >= begin && element < end) {
        out[element - begin] = unit_number(random.words[word]);
      }
    }
  }
}

}  // namespace

void count_bits(const float* values, int64_t elements, CountRule rule, int64_t* counts, void* stream) {
  count_bits_kernel<<<blocks_for(elements), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      values, elements, rule, reinterpret_cast<unsigned long long*>(counts));
  check_launch();
}

void add_sign_balance(const Vectors& vectors, int64_t elements, int64_t* balance, void* stream) {
  sign_balance_kernel<<<blocks_for(elements), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      vectors, elements, reinterpret_cast<unsigned long long*>(balance));
  check_launch();
}

void merge_agreeing(const Vectors& vectors, int64_t elements, bool positive_majority, AgreeingMerge merge,
                    float* merged, void* stream) {
  merge_agreeing_kernel<<<blocks_for(elements), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      vectors, elements, positive_majority, merge, merged);
  check_launch();
}

void fill_uniform(uint64_t key, uint64_t numbers, int64_t begin, int64_t count, float* out, void* stream) {
  if (count == 0) {
    return;  // a grid has at least one block
  }
  const int64_t counters = (begin + count + 3) / 4 - begin / 4;
  fill_uniform_kernel<<<blocks_for(counters), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      key, numbers, begin, count, out);
  check_launch();
}

}  // namespace fusegrid::device_kernels
