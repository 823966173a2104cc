#include "fusion/sign_election.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include "core/text.h"

namespace fusegrid {
namespace {

// The rules are written twice, with the same results for finite numbers: op by op for GPUs and float64, and as loops
// over chunks that stay in cache for float32 on CPUs, where op by op is five times slower (masks).
at::Tensor merge_op_by_op(const std::vector<at::Tensor>& vectors, const TrimmedElection& election,
                          const std::string& merge) {
  const auto kept = trimmed(vectors, election.thresholds);
  const at::Tensor sum = sum_of(kept);
  const at::Tensor positive = election.majority > 0 ? sum >= 0 : sum > 0;
  at::Tensor merged = at::zeros_like(sum);
  at::Tensor count = at::zeros_like(sum);
  for (const at::Tensor& vector : kept) {
    const at::Tensor agreeing = vector * at::where(positive, vector > 0, vector < 0);
    merged = merge == "max" ? at::where(agreeing.abs() > merged.abs(), agreeing, merged) : merged + agreeing;
    count.add_(agreeing != 0);
  }
  return merge == "mean" ? merged / count.clamp_min(1) : merged;
}

constexpr int64_t kChunk = 2048;

// The vectors of a slice on the CPU, chunk by chunk. The loops have neither branches nor aliases, so that compilers
// make vector instructions of them.
class Chunks {
 public:
  Chunks(const std::vector<at::Tensor>& vectors, const std::vector<float>& thresholds)
      : thresholds_(thresholds) {
    for (const at::Tensor& vector : vectors) {
      vectors_.push_back(vector.contiguous());
    }
  }
  int64_t elements() const { return vectors_[0].numel(); }

  // Positive minus negative entries of the sum of the trimmed vectors.
  int64_t sign_balance(int64_t begin) const {
    float sum[kChunk];
    add_up(begin, sum);
    int32_t balance = 0;
    for (int64_t i = 0; i < count(begin); ++i) {
      balance += static_cast<int32_t>(sum[i] > 0) - static_cast<int32_t>(sum[i] < 0);
    }
    return balance;
  }

  void merge(int64_t begin, double majority, const std::string& merge, float* __restrict out) const {
    const int64_t size = count(begin);
    float vector[kChunk];
    float sign[kChunk];
    float entries[kChunk] = {};
    add_up(begin, vector);
    elect(vector, size, majority, sign);
    std::fill_n(out, size, 0.0F);
    for (size_t index = 0; index < vectors_.size(); ++index) {
      trim(index, begin, vector);
      for (int64_t i = 0; i < size; ++i) {
        vector[i] = vector[i] * sign[i] <= 0 ? 0.0F : vector[i];  // nothing, where the signs differ
      }
      if (merge == "max") {
        for (int64_t i = 0; i < size; ++i) {
          out[i] = std::fabs(vector[i]) > std::fabs(out[i]) ? vector[i] : out[i];
        }
        continue;
      }
      for (int64_t i = 0; i < size; ++i) {
        out[i] += vector[i];
      }
      for (int64_t i = 0; merge == "mean" && i < size; ++i) {
        entries[i] += vector[i] != 0 ? 1.0F : 0.0F;
      }
    }
    for (int64_t i = 0; merge == "mean" && i < size; ++i) {
      out[i] /= std::max(entries[i], 1.0F);
    }
  }

 private:
  int64_t count(int64_t begin) const { return std::min(kChunk, elements() - begin); }

  void trim(size_t index, int64_t begin, float* __restrict kept) const {
    const float* __restrict from = vectors_[index].const_data_ptr<float>() + begin;
    const float threshold = thresholds_[index];
    for (int64_t i = 0; i < count(begin); ++i) {
      kept[i] = std::fabs(from[i]) < threshold ? 0.0F : from[i];  // what is not a number stays
    }
  }

  void add_up(int64_t begin, float* __restrict sum) const {
    float kept[kChunk];
    trim(0, begin, sum);
    for (size_t index = 1; index < vectors_.size(); ++index) {
      trim(index, begin, kept);
      for (int64_t i = 0; i < count(begin); ++i) {
        sum[i] += kept[i];
      }
    }
  }

  // The sign of each entry, as 1 or -1: an entry whose sum is zero follows the majority, else "-".
  static void elect(const float* __restrict sum, int64_t size, double majority, float* __restrict sign) {
    for (int64_t i = 0; majority > 0 && i < size; ++i) {
      sign[i] = sum[i] >= 0 ? 1.0F : -1.0F;
    }
    for (int64_t i = 0; !(majority > 0) && i < size; ++i) {
      sign[i] = sum[i] > 0 ? 1.0F : -1.0F;
    }
  }

  std::vector<at::Tensor> vectors_;
  const std::vector<float>& thresholds_;
};

// Positive minus negative entries of the sum of the trimmed vectors.
double sign_balance(const std::vector<at::Tensor>& vectors, const std::vector<float>& thresholds) {
  if (!vectors[0].is_cpu()) {
    return sum_of(trimmed(vectors, thresholds)).sign().sum(at::kDouble).item<double>();
  }
  const Chunks chunks(vectors, thresholds);
  int64_t balance = 0;
  for (int64_t begin = 0; begin < chunks.elements(); begin += kChunk) {
    balance += chunks.sign_balance(begin);
  }
  return static_cast<double>(balance);
}

}  // namespace

std::vector<at::Tensor> trimmed(const std::vector<at::Tensor>& vectors,
                                const std::vector<float>& thresholds) {
  std::vector<at::Tensor> kept;
  for (size_t i = 0; i < vectors.size(); ++i) {
    kept.push_back(vectors[i] * (vectors[i].abs() >= static_cast<double>(thresholds[i])));
  }
  return kept;
}

std::vector<float> trimming_thresholds(const FusionInput& in, const std::string& key, double density,
                                       const FusionInput::SliceVectors& vectors) {
  const size_t experts = in.num_experts();
  const int64_t elements = in.num_elements();
  const auto kept = static_cast<int64_t>(static_cast<double>(elements) * density);
  if (kept == elements) {
    return std::vector<float>(experts, 0.0F);
  }
  const auto numbers = in.scalars("thresholds{density=" + number_text(density) + "}/" + key, [&] {
    std::vector<double> thresholds;
    for (const auto& of_expert : in.kth_smallest(Order::kMagnitudes, experts, {elements - kept}, vectors)) {
      thresholds.push_back(of_expert.front());
    }
    return thresholds;
  });
  return {numbers.begin(), numbers.end()};
}

TrimmedElection trim_and_elect(const FusionInput& in, const std::string& key, double density,
                               const FusionInput::SliceVectors& vectors) {
  TrimmedElection election;
  election.thresholds = trimming_thresholds(in, key, density, vectors);
  election.majority = in.scalars("majority{density=" + number_text(density) + "}/" + key, [&] {
    return in.reduce(1, [&](const Slice& slice, double* out) {
      out[0] = sign_balance(vectors(slice), election.thresholds);
    });
  })[0];
  return election;
}

at::Tensor merge_elected(const std::vector<at::Tensor>& vectors, const TrimmedElection& election,
                         const std::string& merge) {
  if (!vectors[0].is_cpu() || vectors[0].scalar_type() != at::kFloat) {
    return merge_op_by_op(vectors, election, merge);
  }
  const Chunks chunks(vectors, election.thresholds);
  at::Tensor merged = at::empty_like(vectors[0], at::MemoryFormat::Contiguous);
  auto* out = merged.mutable_data_ptr<float>();
  for (int64_t begin = 0; begin < merged.numel(); begin += kChunk) {
    chunks.merge(begin, election.majority, merge, out + begin);
  }
  return merged;
}

at::Tensor merge_weighted(const std::vector<at::Tensor>& vectors, const std::vector<double>& weights,
                          bool elect, const std::string& merge) {
  std::vector<at::Tensor> weighted;
  for (size_t i = 0; i < weights.size(); ++i) {
    weighted.push_back(vectors[i] * weights[i]);
  }
  if (!elect) {
    const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
    const bool divide = merge == "mean" && std::abs(total) >= 1e-8;
    return divide ? sum_of(weighted).div_(total) : sum_of(weighted);
  }
  const at::Tensor positive = sum_of(weighted) >= 0;
  at::Tensor merged = at::zeros_like(positive, at::TensorOptions(at::kFloat));
  at::Tensor divisor = at::zeros_like(merged);
  for (size_t i = 0; i < weights.size(); ++i) {
    const at::Tensor agrees = at::where(positive, weighted[i] > 0, weighted[i] < 0);
    merged.add_(weighted[i] * agrees);
    divisor.add_(agrees, weights[i]);
  }
  return merge == "mean" ? merged.div_(divisor.masked_fill(divisor == 0, 1.0)) : merged;
}

}  // namespace fusegrid
