#include "fusion/engine.h"

#include <algorithm>
#include <numeric>

namespace fusegrid {

int64_t Engine::num_elements() const {
  const auto& infos = tensors();
  return std::accumulate(infos.begin(), infos.end(), int64_t{0},
                         [](int64_t sum, const TensorInfo& info) { return sum + info.numel(); });
}

std::vector<std::pair<int64_t, int64_t>> sampled_runs(int64_t begin, int64_t count) {
  constexpr int64_t kPeriod = kSampleRun * kSampleStride;
  constexpr int64_t kFirst = kPeriod / 2;  // of the run in a period
  const int64_t end = begin + count;
  std::vector<std::pair<int64_t, int64_t>> runs;
  for (int64_t run = begin / kPeriod * kPeriod + kFirst; run < end; run += kPeriod) {
    const int64_t first = std::max(begin, run);
    const int64_t last = std::min(end, run + kSampleRun);
    if (first < last) {
      runs.emplace_back(first, last - first);
    }
  }
  return runs;
}

}  // namespace fusegrid
