// Exact order statistics over the whole model, by integer histograms of the floats' bits: a pass for the high bits
// and one for the low ones. Counts are integers, so any engine and any number of ranks give the same bits.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "fusion/engine.h"
#include "fusion/scalar_rules.h"

namespace fusegrid {

// The k-th smallest entries or magnitudes (k counted from 1) of `width` vectors that `vectors` makes of a slice, for
// each of `ks`: [width][ks]. Slices for which `vectors` returns none take no part. The values must not be NaN. Every
// rank of the engine's group must call. Aborts where a vector has fewer than k entries.
std::vector<std::vector<float>> kth_smallest(
    Engine& engine, Order order, size_t width, const std::vector<int64_t>& ks,
    const std::function<std::vector<at::Tensor>(const Slice&)>& vectors);

}  // namespace fusegrid
