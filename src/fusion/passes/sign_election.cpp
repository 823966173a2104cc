#include "fusion/passes/sign_election.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/hardshrink.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "core/text.h"
#include "fusion/loops/entry_loops.h"

namespace fusegrid {
namespace {

AgreeingMerge agreeing_merge(const std::string& name) {
  return name == "max" ? AgreeingMerge::kMax : name == "mean" ? AgreeingMerge::kMean : AgreeingMerge::kSum;
}

// bool: whether the sum of the trimmed vectors elects +.
at::Tensor elects_plus(const std::vector<at::Tensor>& kept, const TrimmedElection& election) {
  const at::Tensor sum = sum_of(kept);
  return election.majority > 0 ? sum >= 0 : sum > 0;
}

// Where rules of entry_rules.h do not fit: for float64, and for GPUs without kernels. The same results for finite
// numbers.
at::Tensor merge_op_by_op(const std::vector<at::Tensor>& vectors, const TrimmedElection& election,
                          AgreeingMerge merge) {
  const auto kept = trimmed(vectors, election.thresholds);
  const at::Tensor sign = elects_plus(kept, election).to(kept[0].scalar_type()).mul_(2).sub_(1);
  at::Tensor merged = at::zeros_like(sign);  // magnitudes
  at::Tensor entries = at::zeros_like(sign);
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

// Positive less negative numbers.
int32_t sign_balance(const float* numbers, int64_t count) {
  int32_t balance = 0;
  for (int64_t i = 0; i < count; ++i) {
    balance += static_cast<int32_t>(numbers[i] > 0) - static_cast<int32_t>(numbers[i] < 0);
  }
  return balance;
}

int64_t sign_balance_in_chunks(const std::vector<SliceVector>& vectors,
                               const std::vector<float>& thresholds) {
  EntryLoops loops(vectors, thresholds);
  float sums[EntryLoops::kChunk];
  int64_t balance = 0;
  for (int64_t begin = 0; begin < loops.elements(); begin += EntryLoops::kChunk) {
    const int64_t count = std::min(EntryLoops::kChunk, loops.elements() - begin);
    loops.apply(TrimmedSum{}, begin, count, sums);
    balance += sign_balance(sums, count);
  }
  return balance;
}

// Of the sum of the trimmed vectors: positive less negative entries.
double sign_balance(const std::vector<SliceVector>& vectors, const std::vector<float>& thresholds) {
  if (all_chunked(vectors)) {
    return static_cast<double>(sign_balance_in_chunks(vectors, thresholds));
  }
  if constexpr (device_kernels::kCompiled) {
    if (rules_fit(vectors)) {
      const DeviceVectors on_device(vectors, thresholds);
      at::Tensor balance = at::zeros({1}, vectors[0].values.options().dtype(at::kLong));
      device_kernels::add_sign_balance(on_device.all, vectors[0].values.numel(),
                                       balance.mutable_data_ptr<int64_t>(),
                                       current_stream(balance.device()).native_handle());
      return static_cast<double>(balance.item<int64_t>());
    }
  }
  return sum_of(trimmed(tensors_of(vectors), thresholds)).sign().sum(at::kDouble).item<double>();
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

std::vector<at::Tensor> elected_entries(const std::vector<at::Tensor>& vectors,
                                        const TrimmedElection& election) {
  const auto kept = trimmed(vectors, election.thresholds);
  const at::Tensor plus = elects_plus(kept, election);
  std::vector<at::Tensor> entries;
  for (const at::Tensor& vector : kept) {
    entries.push_back(at::where(plus, vector > 0, vector < 0));
  }
  return entries;
}

namespace {

std::string trimming_key(const std::string& what, const std::vector<double>& densities,
                         const std::string& key) {
  std::vector<std::string> numbers;
  for (const double density : densities) {
    numbers.push_back(number_text(density));
  }
  return what + "{density=" + join(numbers, ":") + "}/" + key;
}

std::vector<double> find_thresholds(const FusionInput& in, const std::vector<double>& densities,
                                    const SliceVectors& vectors) {
  const int64_t elements = in.num_elements();
  std::vector<int64_t> dropped;  // of each vector
  for (const double density : densities) {
    dropped.push_back(elements - static_cast<int64_t>(static_cast<double>(elements) * density));
  }
  std::set<int64_t> distinct(dropped.begin(), dropped.end());
  distinct.erase(0);
  std::vector<double> thresholds(densities.size(), 0.0);
  if (distinct.empty()) {
    return thresholds;
  }
  const std::vector<int64_t> ks(distinct.begin(), distinct.end());
  const auto found = in.kth_smallest(Order::kMagnitudes, densities.size(), ks, vectors);
  for (size_t i = 0; i < densities.size(); ++i) {
    if (dropped[i] > 0) {
      thresholds[i] =
          found[i][static_cast<size_t>(std::distance(distinct.begin(), distinct.find(dropped[i])))];
    }
  }
  return thresholds;
}

double majority_of(const FusionInput& in, const SliceVectors& vectors, const std::vector<float>& thresholds) {
  return in.reduce(
      1, [&](const Slice& slice, double* out) { out[0] = sign_balance(vectors(slice), thresholds); })[0];
}

}  // namespace

std::vector<float> trimming_thresholds(const FusionInput& in, const std::string& key,
                                       const std::vector<double>& densities, const SliceVectors& vectors) {
  const auto numbers = in.scalars(trimming_key("thresholds", densities, key),
                                  [&] { return find_thresholds(in, densities, vectors); });
  return {numbers.begin(), numbers.end()};
}

TrimmedElection untrimmed(size_t vectors) {
  return {.thresholds = std::vector<float>(vectors, 0.0F)};
}

TrimmedElection trim_and_elect(const FusionInput& in, const std::string& key,
                               const std::vector<double>& densities, const SliceVectors& vectors) {
  const auto thresholds = trimming_thresholds(in, key, densities, vectors);
  const auto majority = in.scalars(trimming_key("majority", densities, key),
                                   [&] { return std::vector<double>{majority_of(in, vectors, thresholds)}; });
  return {.thresholds = thresholds, .majority = majority[0]};
}

at::Tensor merge_elected(const std::vector<SliceVector>& vectors, const TrimmedElection& election,
                         const std::string& merge) {
  if (!rules_fit(vectors)) {
    return merge_op_by_op(tensors_of(vectors), election, agreeing_merge(merge));
  }
  const bool positive = election.majority > 0;
  switch (agreeing_merge(merge)) {
    case AgreeingMerge::kMean:
      return apply_rule(vectors, election.thresholds, MergeAgreeing<AgreeingMerge::kMean>{positive});
    case AgreeingMerge::kMax:
      return apply_rule(vectors, election.thresholds, MergeAgreeing<AgreeingMerge::kMax>{positive});
    default:
      return apply_rule(vectors, election.thresholds, MergeAgreeing<AgreeingMerge::kSum>{positive});
  }
}

namespace {

at::Tensor merge_weighted_op_by_op(const std::vector<at::Tensor>& vectors, const std::vector<double>& weights,
                                   bool elect, bool mean) {
  std::vector<at::Tensor> weighted;
  for (size_t i = 0; i < weights.size(); ++i) {
    weighted.push_back(vectors[i] * weights[i]);
  }
  if (!elect) {
    return sum_of(weighted);
  }
  const at::Tensor positive = sum_of(weighted) >= 0;
  at::Tensor merged = at::zeros_like(weighted[0]);
  at::Tensor divisor = at::zeros_like(merged);
  for (size_t i = 0; i < weights.size(); ++i) {
    const at::Tensor agrees = at::where(positive, weighted[i] > 0, weighted[i] < 0);
    merged.add_(weighted[i] * agrees);
    divisor.add_(agrees, weights[i]);
  }
  return mean ? merged.div_(divisor.masked_fill(divisor == 0, 1.0)) : merged;
}

}  // namespace

double mean_divisor(const std::vector<double>& weights) {
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  return std::abs(total) < 1e-8 ? 1 : total;
}

at::Tensor merge_weighted(const std::vector<at::Tensor>& vectors, const std::vector<double>& weights,
                          bool elect, const std::string& merge) {
  const auto all = views(vectors);
  const bool mean = merge == "mean";
  const std::vector<float> numbers(weights.begin(), weights.end());
  at::Tensor merged = !rules_fit(all) ? merge_weighted_op_by_op(vectors, weights, elect, mean)
                      : !elect        ? apply_rule(all, numbers, SumOfProducts{})
                      : mean          ? apply_rule(all, numbers, MergeAgreeingWeighted<true>{})
                                      : apply_rule(all, numbers, MergeAgreeingWeighted<false>{});
  return mean && !elect ? merged.div_(mean_divisor(weights)) : merged;
}

}  // namespace fusegrid
