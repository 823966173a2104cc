// Exact order statistics over the whole model. Counts are integers, so any engine and any number of ranks give the same
// bits.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "fusion/engine.h"
#include "fusion/loops/ordered_bits.h"

namespace fusegrid {

// Vectors made of a slice, always as many; none: the slice takes no part.
using SliceVectors = std::function<std::vector<SliceVector>(const Slice&)>;

// The k-th smallest entries or magnitudes (k counted from 1) of `width` vectors that `vectors` makes of a slice, for
// each of `ks`: [width][ks]. The vectors are float32 or less (SliceVector); no value is NaN. Every rank of the engine's
// group must call. Aborts where a vector has fewer than k entries.
//
// On CPUs a sample says in which narrow range of numbers an entry nearly certainly is, and one pass counts what is
// below the range and how often each number in it occurs: that pass is as fast as reading. Where the entry is not in
// the range, and on GPUs, two passes count the high and the low bits of all numbers.
std::vector<std::vector<float>> kth_smallest(Engine& engine, Order order, size_t width,
                                             const std::vector<int64_t>& ks, const SliceVectors& vectors);

}  // namespace fusegrid
