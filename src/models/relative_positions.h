// Attention that knows positions by what is added to its scores: a number for each head and each relative position.
#pragma once

#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

#include "core/weights.h"

namespace fusegrid {

// Relative positions that have one number.
struct Buckets {
  int64_t count = 0;
  int64_t max_distance = 0;  // farther ones share the last bucket
};

// What is added to the scores of a stack's attention to itself. Source: Raffel et al., arXiv:1910.10683, section 2.1,
// as HuggingFace computes it.
class PositionBias {
 public:
  // weight: the name of the table [buckets, heads]. both_ways: half of the buckets are for keys behind the query; else
  // all are for those before it.
  PositionBias(std::string weight, bool both_ways, const Buckets& buckets);

  // [1, heads, queries, keys]; the queries are at positions from `first` on, the keys from 0 on.
  at::Tensor operator()(const Weights& weights, int64_t first, int64_t queries, int64_t keys) const;

  std::string weight;

 private:
  int64_t bucket(int64_t relative) const;

  bool both_ways_;
  Buckets buckets_;
};

// The bias where `seen`, which is bool and broadcast to it; elsewhere a key is not looked at.
at::Tensor masked(const at::Tensor& bias, const at::Tensor& seen);

}  // namespace fusegrid
