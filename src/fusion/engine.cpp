#include "fusion/engine.h"

#include <algorithm>
#include <bit>
#include <numeric>

namespace fusegrid {

int64_t Engine::num_elements() const {
  const auto& infos = tensors();
  return std::accumulate(infos.begin(), infos.end(), int64_t{0},
                         [](int64_t sum, const TensorInfo& info) { return sum + info.numel(); });
}

int64_t sample_stride(int64_t elements) {
  const auto most =
      static_cast<uint64_t>(std::clamp(elements / kSampledElements, int64_t{1}, kMostSampleStride));
  return static_cast<int64_t>(std::bit_floor(most));
}

std::vector<std::pair<int64_t, int64_t>> sampled_runs(int64_t begin, int64_t count, int64_t stride) {
  const int64_t period = kSampleRun * stride;
  const int64_t middle = kSampleRun * (stride / 2);  // of a period
  const int64_t end = begin + count;
  std::vector<std::pair<int64_t, int64_t>> runs;
  for (int64_t run = begin / period * period + middle; run < end; run += period) {
    const int64_t first = std::max(begin, run);
    const int64_t last = std::min(end, run + kSampleRun);
    if (first < last) {
      runs.emplace_back(first, last - first);
    }
  }
  return runs;
}

}  // namespace fusegrid
