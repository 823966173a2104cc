#include "fusion/sign_election.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/hardshrink.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "core/text.h"
#include "fusion/device_kernels.h"
#include "fusion/election_counter.h"
#include "fusion/scalar_rules.h"
#include "fusion/stream_device.h"

namespace fusegrid {
namespace {

// The rules of scalar_rules.h run three ways, with the same results for finite numbers: as loops over chunks that stay
// in cache on CPUs, where op by op is five times slower (masks), as kernels on GPUs, and op by op where there are none and for
// float64.
AgreeingMerge agreeing_merge(const std::string& name) {
  return name == "max" ? AgreeingMerge::kMax : name == "mean" ? AgreeingMerge::kMean : AgreeingMerge::kSum;
}

at::Tensor merge_op_by_op(const std::vector<at::Tensor>& vectors, const TrimmedElection& election,
                          AgreeingMerge merge) {
  const auto kept = trimmed(vectors, election.thresholds);
  const at::Tensor sum = sum_of(kept);
  const at::Tensor sign = (election.majority > 0 ? sum >= 0 : sum > 0).to(sum.scalar_type()).mul_(2).sub_(1);
  at::Tensor merged = at::zeros_like(sum);  // magnitudes
  at::Tensor entries = at::zeros_like(sum);
  for (const at::Tensor& vector : kept) {
    const at::Tensor agreeing = (vector * sign).clamp_min_(0);  // 0 where the signs differ
    if (merge == AgreeingMerge::kMax) {
      merged = at::maximum(merged, agreeing);
    } else {
      merged.add_(agreeing);
    }
    if (merge == AgreeingMerge::kMean) {
      entries.add_(agreeing != 0);
    }
  }
  return (merge == AgreeingMerge::kMean ? merged.div_(entries.clamp_min_(1)) : merged).mul_(sign);
}

std::vector<at::Tensor> tensors_of(const std::vector<SliceVector>& vectors) {
  std::vector<at::Tensor> tensors;
  for (const SliceVector& vector : vectors) {
    tensors.push_back(vector.tensor());
  }
  return tensors;
}

bool fit_a_kernel(const std::vector<at::Tensor>& vectors) {
  return device_kernels::kCompiled && vectors.size() <= device_kernels::kMaxVectors && vectors[0].is_cuda() &&
         vectors[0].scalar_type() == at::kFloat;
}

// `contiguous` keeps alive what the kernel reads.
device_kernels::Vectors kernel_vectors(const std::vector<at::Tensor>& vectors,
                                       const std::vector<float>& thresholds,
                                       std::vector<at::Tensor>& contiguous) {
  device_kernels::Vectors all{};
  all.count = static_cast<int>(vectors.size());
  for (size_t i = 0; i < vectors.size(); ++i) {
    contiguous.push_back(vectors[i].contiguous());
    all.values[i] = contiguous.back().const_data_ptr<float>();
    all.thresholds[i] = thresholds[i];
  }
  return all;
}

at::Tensor merge_on_device(const std::vector<at::Tensor>& vectors, const TrimmedElection& election,
                           AgreeingMerge merge) {
  if constexpr (device_kernels::kCompiled) {
    if (fit_a_kernel(vectors)) {
      std::vector<at::Tensor> contiguous;
      const auto all = kernel_vectors(vectors, election.thresholds, contiguous);
      at::Tensor merged = at::empty_like(vectors[0], at::MemoryFormat::Contiguous);
      device_kernels::merge_agreeing(all, merged.numel(), election.majority > 0, merge,
                                     merged.mutable_data_ptr<float>(),
                                     current_stream(merged.device()).native_handle());
      return merged;
    }
  }
  return merge_op_by_op(vectors, election, merge);
}

double sign_balance_on_device(const std::vector<at::Tensor>& vectors, const std::vector<float>& thresholds) {
  if constexpr (device_kernels::kCompiled) {
    if (fit_a_kernel(vectors)) {
      std::vector<at::Tensor> contiguous;
      const auto all = kernel_vectors(vectors, thresholds, contiguous);
      at::Tensor balance = at::zeros({1}, vectors[0].options().dtype(at::kLong));
      device_kernels::add_sign_balance(all, vectors[0].numel(), balance.mutable_data_ptr<int64_t>(),
                                       current_stream(balance.device()).native_handle());
      return static_cast<double>(balance.item<int64_t>());
    }
  }
  return sum_of(trimmed(vectors, thresholds)).sign().sum(at::kDouble).item<double>();
}

// The trimmed vectors of a slice on the CPU, chunk by chunk. The loops have neither branches nor aliases, so that
// compilers make vector instructions of them.
class Chunks {
 public:
  static constexpr int64_t kChunk = ChunkReader::kChunk;

  Chunks(const std::vector<SliceVector>& vectors, const std::vector<float>& thresholds)
      : reader_(vectors), thresholds_(thresholds), kept_(vectors.size() * static_cast<size_t>(kChunk)) {}

  // Positive minus negative entries of the sum of the trimmed vectors.
  int64_t sign_balance() {
    int64_t all = 0;
    reader_.for_each_chunk([&](int64_t, int64_t size) {
      load(size);
      int32_t balance = 0;
      for (int64_t i = 0; i < size; ++i) {
        balance += static_cast<int32_t>(sum_[i] > 0) - static_cast<int32_t>(sum_[i] < 0);
      }
      all += balance;
    });
    return all;
  }

  void merge(bool positive_majority, AgreeingMerge merge, float* out) {
    reader_.for_each_chunk([&](int64_t begin, int64_t size) {
      load(size);
      merge_chunk(size, positive_majority, merge, out + begin);
    });
  }

 private:
  float* kept(size_t index) { return &kept_[index * static_cast<size_t>(kChunk)]; }

  void merge_chunk(int64_t size, bool positive_majority, AgreeingMerge merge, float* __restrict out) {
    float sign[kChunk];
    float entries[kChunk] = {};
    for (int64_t i = 0; i < size; ++i) {
      sign[i] = elected_sign(sum_[i], positive_majority);
    }
    std::fill_n(out, size, 0.0F);
    for (size_t index = 0; index < reader_.num_vectors(); ++index) {
      add_agreeing(kept(index), sign, size, merge, out, entries);
    }
    if (merge == AgreeingMerge::kMean) {
      for (int64_t i = 0; i < size; ++i) {
        out[i] /= std::max(entries[i], 1.0F);
      }
    }
  }

  // The trimmed entries of all vectors of a chunk, and their sums.
  void load(int64_t size) {
    std::fill_n(sum_, size, 0.0F);
    for (size_t index = 0; index < reader_.num_vectors(); ++index) {
      const float threshold = thresholds_[index];
      float* __restrict to = kept(index);
      const float* from = reader_.read(index, to);
      for (int64_t i = 0; i < size; ++i) {
        to[i] = trimmed_value(from[i], threshold);
      }
      for (int64_t i = 0; i < size; ++i) {
        sum_[i] += to[i];
      }
    }
  }

  static void add_agreeing(const float* __restrict values, const float* __restrict sign, int64_t size,
                           AgreeingMerge merge, float* __restrict out, float* __restrict entries) {
    if (merge == AgreeingMerge::kMax) {
      for (int64_t i = 0; i < size; ++i) {
        const float value = agreeing_value(values[i], sign[i]);
        out[i] = std::fabs(value) > std::fabs(out[i]) ? value : out[i];
      }
    } else if (merge == AgreeingMerge::kMean) {
      for (int64_t i = 0; i < size; ++i) {
        const float value = agreeing_value(values[i], sign[i]);
        out[i] += value;
        entries[i] += value != 0 ? 1.0F : 0.0F;
      }
    } else {
      for (int64_t i = 0; i < size; ++i) {
        out[i] += agreeing_value(values[i], sign[i]);
      }
    }
  }

  ChunkReader reader_;
  const std::vector<float>& thresholds_;
  std::vector<float> kept_;  // [vectors][kChunk]
  float sum_[kChunk];
};

double sign_balance(const std::vector<SliceVector>& vectors, const std::vector<float>& thresholds) {
  if (!all_chunked(vectors)) {
    return sign_balance_on_device(tensors_of(vectors), thresholds);
  }
  return static_cast<double>(Chunks(vectors, thresholds).sign_balance());
}

}  // namespace

std::vector<at::Tensor> trimmed(const std::vector<at::Tensor>& vectors,
                                const std::vector<float>& thresholds) {
  std::vector<at::Tensor> kept;
  for (size_t i = 0; i < vectors.size(); ++i) {
    // hardshrink keeps what is beyond its bound, here what reaches the threshold
    const float below = std::nextafter(thresholds[i], 0.0F);
    kept.push_back(at::hardshrink(vectors[i], static_cast<double>(below)));
  }
  return kept;
}

namespace {

std::string thresholds_key(const std::string& key, double density) {
  return "thresholds{density=" + number_text(density) + "}/" + key;
}

std::vector<double> find_thresholds(const FusionInput& in, double density, const SliceVectors& vectors,
                                    ChunkObserver* observer = nullptr) {
  const size_t experts = in.num_experts();
  const int64_t elements = in.num_elements();
  const auto kept = static_cast<int64_t>(static_cast<double>(elements) * density);
  if (kept == elements) {
    return std::vector<double>(experts, 0.0);
  }
  std::vector<double> thresholds;
  for (const auto& of_expert :
       in.kth_smallest(Order::kMagnitudes, experts, {elements - kept}, vectors, observer)) {
    thresholds.push_back(of_expert.front());
  }
  return thresholds;
}

double majority_of(const FusionInput& in, const SliceVectors& vectors, const std::vector<float>& thresholds) {
  return in.reduce(
      1, [&](const Slice& slice, double* out) { out[0] = sign_balance(vectors(slice), thresholds); })[0];
}

}  // namespace

std::vector<float> trimming_thresholds(const FusionInput& in, const std::string& key, double density,
                                       const SliceVectors& vectors) {
  const auto numbers =
      in.scalars(thresholds_key(key, density), [&] { return find_thresholds(in, density, vectors); });
  return {numbers.begin(), numbers.end()};
}

TrimmedElection untrimmed(size_t vectors) {
  return {.thresholds = std::vector<float>(vectors, 0.0F)};
}

TrimmedElection trim_and_elect(const FusionInput& in, const std::string& key, double density,
                               const SliceVectors& vectors) {
  // the thresholds and, behind them, the majority
  const auto numbers = in.scalars("election{density=" + number_text(density) + "}/" + key, [&] {
    ElectionCounter counter;
    std::vector<double> found = find_thresholds(in, density, vectors, &counter);
    const std::vector<float> thresholds(found.begin(), found.end());
    const auto balance =
        counter.balance(thresholds, [&](std::vector<int64_t>& counters) { in.sum_over_ranks(counters); });
    found.push_back(balance ? static_cast<double>(*balance) : majority_of(in, vectors, thresholds));
    return found;
  });
  const std::vector<double> thresholds(numbers.begin(), numbers.end() - 1);
  in.scalars(thresholds_key(key, density), [&] { return thresholds; });  // for methods that only trim
  return {.thresholds = {thresholds.begin(), thresholds.end()}, .majority = numbers.back()};
}

at::Tensor merge_elected(const std::vector<SliceVector>& vectors, const TrimmedElection& election,
                         const std::string& merge) {
  const AgreeingMerge rule = agreeing_merge(merge);
  const at::Tensor& shaped = vectors[0].values;
  if (!all_chunked(vectors)) {
    return merge_on_device(tensors_of(vectors), election, rule);
  }
  at::Tensor merged = at::empty(shaped.sizes(), at::TensorOptions(at::kFloat));
  Chunks(vectors, election.thresholds).merge(election.majority > 0, rule, merged.mutable_data_ptr<float>());
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
