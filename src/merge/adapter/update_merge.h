// Methods of `fusegrid merge` on adapters: they see the updates as models on a base of zeros, or the vectors of (IA)^3
// on one of ones.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "merge/adapter/adapter_inputs.h"
#include "merge/adapter/low_rank.h"

namespace fusegrid::adapters {

struct UpdateMergeOptions {
  uint64_t seed = 0;
  int threads =
      1;  // that read, and that cut results to their rank, each with about eight copies of a matrix in float64
  at::Device device = at::kCPU;
  int64_t memory_limit_bytes = int64_t{1} << 30;  // of the buffers of the passes
  std::function<void(double share)> progress = [](double) {};
};

// ConfigError where what the method adds to a base depends on the base's own weights, so that the updates do not say
// what it is. Found by running the method on a few random numbers, upon zeros and upon others.
void check_merges_updates(const MergeMethod& call, size_t adapters, uint64_t seed);

// The method's results on LoRA adapters, one, or one for each adapter in their order; cut by the rule as soon as a
// tensor is merged, so that memory does not depend on the size of the models. The same bits for any number of threads.
std::vector<std::map<std::string, LowRankUpdate>> merge_updates(const AdapterInputs& inputs,
                                                                const MergeMethod& call, const RankRule& rule,
                                                                const UpdateMergeOptions& options);

// The method's results on (IA)^3 adapters: vectors, float32.
std::vector<Weights> merge_vectors(const AdapterInputs& inputs, const MergeMethod& call,
                                   const UpdateMergeOptions& options);

}  // namespace fusegrid::adapters
