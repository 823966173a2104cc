#include "models/relative_positions.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <utility>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>

#include "models/operators.h"

namespace fusegrid {
namespace {

// Distances below half of the buckets have one each, larger ones share the rest by their logarithm. In float32, as in
// HuggingFace's: at a boundary rounding decides.
int64_t bucket_of_distance(int64_t distance, const Buckets& buckets) {
  const int64_t exact = buckets.count / 2;
  if (distance < exact) {
    return distance;
  }
  const auto range =
      static_cast<float>(std::log(static_cast<double>(buckets.max_distance) / static_cast<double>(exact)));
  const float share = std::log(static_cast<float>(distance) / static_cast<float>(exact)) / range;
  return std::min(exact + static_cast<int64_t>(share * static_cast<float>(buckets.count - exact)),
                  buckets.count - 1);
}

}  // namespace

PositionBias::PositionBias(std::string name, bool both_ways, const Buckets& buckets)
    : weight(std::move(name)), both_ways_(both_ways), buckets_(buckets) {}

at::Tensor PositionBias::operator()(const Weights& weights, int64_t first, int64_t queries,
                                    int64_t keys) const {
  const at::Tensor& table = weights.at(weight);
  const int64_t lowest = 1 - first - queries;
  std::vector<int64_t> buckets;  // by relative position, from the lowest on
  for (int64_t relative = lowest; relative < keys - first; ++relative) {
    buckets.push_back(bucket(relative));
  }
  const auto options = at::TensorOptions(at::kLong).device(table.device());
  const at::Tensor relative =
      at::arange(keys, options).unsqueeze(0) - at::arange(first, first + queries, options).unsqueeze(1);
  const at::Tensor of_pairs = at::tensor(buckets, at::kLong).to(table.device()).take(relative - lowest);
  return embedded(table, of_pairs).permute({2, 0, 1}).unsqueeze(0);
}

// relative: position of the key less that of the query.
int64_t PositionBias::bucket(int64_t relative) const {
  if (!both_ways_) {
    return bucket_of_distance(std::max<int64_t>(-relative, 0), buckets_);
  }
  const Buckets half{buckets_.count / 2, buckets_.max_distance};
  return (relative > 0 ? half.count : 0) + bucket_of_distance(std::abs(relative), half);
}

at::Tensor masked(const at::Tensor& bias, const at::Tensor& seen) {
  return bias.masked_fill(seen.logical_not(), -std::numeric_limits<double>::infinity());
}

}  // namespace fusegrid
