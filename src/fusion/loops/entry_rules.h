// Rules that make one number of an entry of several vectors, the same source for the CPU's loops (entry_loops.h), where
// a Number is Lanes, eight entries side by side, and for the GPU's kernels (device_kernels.cu), where it is a float. A
// rule is given `entry`: entry(i) is the entry of vector i, entry.number(i) a number that goes with vector i (a weight,
// a threshold), entry.count() the number of vectors, at least one. Rules for each vector are also given the vector i,
// and shared(k), an entry of what all vectors share. All add in the order of the vectors, and round each operation
// once.
#pragma once

#include <cmath>

#include "core/host_device.h"
#ifndef __CUDACC__
#include "fusion/loops/lanes.h"
#endif

namespace fusegrid {

FUSEGRID_HOST_DEVICE inline float magnitude(float value) {
  return fabsf(value);
}

// The value or zero. What is not a number stays.
FUSEGRID_HOST_DEVICE inline float positive_part(float value) {
  return value < 0 ? 0.0F : value;
}
FUSEGRID_HOST_DEVICE inline float negative_part(float value) {
  return value > 0 ? 0.0F : value;
}

// a b + c, rounded once
FUSEGRID_HOST_DEVICE inline float multiply_add(float a, float b, float c) {
  return fmaf(a, b, c);
}

// What is not a number stays.
template <typename Number>
FUSEGRID_HOST_DEVICE inline Number trimmed_value(Number value, float threshold) {
  return magnitude(value) < threshold ? Number{} : value;
}

struct Sum {
  template <typename Entry>
  FUSEGRID_HOST_DEVICE auto operator()(const Entry& entry) const {
    auto sum = entry(0);
    for (int i = 1; i < entry.count(); ++i) {
      sum = sum + entry(i);
    }
    return sum;
  }
};

struct Mean {
  template <typename Entry>
  FUSEGRID_HOST_DEVICE auto operator()(const Entry& entry) const {
    return Sum{}(entry) / static_cast<float>(entry.count());
  }
};

// Numbers: weights.
struct WeightedSum {
  template <typename Entry>
  FUSEGRID_HOST_DEVICE auto operator()(const Entry& entry) const {
    auto sum = entry(0) * entry.number(0);
    for (int i = 1; i < entry.count(); ++i) {
      sum = multiply_add(entry(i), entry.number(i), sum);
    }
    return sum;
  }
};

// Of a vector and another: the first plus the other's number times the other.
struct AddScaled {
  template <typename Entry>
  FUSEGRID_HOST_DEVICE auto operator()(const Entry& entry) const {
    return multiply_add(entry(1), entry.number(1), entry(0));
  }
};

// Of equal magnitudes the last.
struct Largest {
  template <typename Entry>
  FUSEGRID_HOST_DEVICE auto operator()(const Entry& entry) const {
    auto largest = entry(0);
    for (int i = 1; i < entry.count(); ++i) {
      const auto other = entry(i);
      largest = magnitude(other) >= magnitude(largest) ? other : largest;
    }
    return largest;
  }
};

// Numbers: thresholds, below which a magnitude counts as zero.
struct TrimmedSum {
  template <typename Entry>
  FUSEGRID_HOST_DEVICE auto operator()(const Entry& entry) const {
    auto sum = trimmed_value(entry(0), entry.number(0));
    for (int i = 1; i < entry.count(); ++i) {
      sum = sum + trimmed_value(entry(i), entry.number(i));
    }
    return sum;
  }
};

enum class AgreeingMerge { kSum, kMean, kMax };

// Merges the trimmed entries that have the sign of their sum; of a sum of zero, which is positive where the majority of
// all sums is. Numbers: thresholds. Both signs' entries are merged on the way, so that each is read once.
template <AgreeingMerge kMerge>
struct MergeAgreeing {
  bool positive_majority = false;

  template <typename Entry>
  FUSEGRID_HOST_DEVICE auto operator()(const Entry& entry) const {
    using Number = decltype(entry(0));
    const Number one = Number{} + 1.0F;
    Number sum{};
    Number positive{};
    Number negative{};
    Number positive_entries{};
    Number negative_entries{};
    for (int i = 0; i < entry.count(); ++i) {
      const Number value = trimmed_value(entry(i), entry.number(i));
      sum = sum + value;
      if constexpr (kMerge == AgreeingMerge::kMax) {
        positive = value > positive ? value : positive;
        negative = value < negative ? value : negative;
      } else {
        positive = positive + positive_part(value);
        negative = negative + negative_part(value);
      }
      if constexpr (kMerge == AgreeingMerge::kMean) {
        positive_entries = positive_entries + (value > 0.0F ? one : Number{});
        negative_entries = negative_entries + (value < 0.0F ? one : Number{});
      }
    }
    const auto is_positive = positive_majority ? sum >= 0.0F : sum > 0.0F;
    const Number merged = is_positive ? positive : negative;
    if constexpr (kMerge == AgreeingMerge::kMean) {
      const Number entries = is_positive ? positive_entries : negative_entries;
      return merged / (entries < 1.0F ? one : entries);
    }
    return merged;
  }
};

// For each vector; shared is a unified one: the unified entry where both have one sign, else 0. As EMR's code has it, a
// unified 0 is negative.
struct AgreeingPart {
  template <typename Entry, typename Shared>
  FUSEGRID_HOST_DEVICE auto operator()(const Entry& entry, int i, const Shared& shared) const {
    return of(entry(i), shared(0));
  }
  template <typename Number>
  FUSEGRID_HOST_DEVICE static Number of(Number own, Number unified) {
    return (unified > 0.0F ? own > 0.0F : own < 0.0F) ? unified : Number{};
  }
};

// For each vector; shared are a unified one and the base: base + number times the agreeing part.
struct AddAgreeingPart {
  template <typename Entry, typename Shared>
  FUSEGRID_HOST_DEVICE auto operator()(const Entry& entry, int i, const Shared& shared) const {
    return multiply_add(AgreeingPart::of(entry(i), shared(0)), entry.number(i), shared(1));
  }
};

// The mean of the entries beyond epsilon, zero where there are none; one that is alone counts number + 1 fold.
struct MeanOfChanges {
  float epsilon = 0;

  template <typename Entry>
  FUSEGRID_HOST_DEVICE auto operator()(const Entry& entry) const {
    using Number = decltype(entry(0));
    const Number one = Number{} + 1.0F;
    Number sum{};
    Number changes{};
    Number more{};  // of the last that changes
    for (int i = 0; i < entry.count(); ++i) {
      const Number value = entry(i);
      const Number changed = magnitude(value) > epsilon ? one : Number{};
      sum = i == 0 ? value * changed : sum + value * changed;
      changes = changes + changed;
      more = magnitude(value) > epsilon ? Number{} + entry.number(i) : more;
    }
    const Number mean = sum / (changes < 1.0F ? one : changes);
    return changes == 1.0F ? multiply_add(mean, more, mean) : mean;
  }
};

// Numbers: weights. Products are rounded before they are added.
struct SumOfProducts {
  template <typename Entry>
  FUSEGRID_HOST_DEVICE auto operator()(const Entry& entry) const {
    auto sum = entry(0) * entry.number(0);
    for (int i = 1; i < entry.count(); ++i) {
      sum = sum + entry(i) * entry.number(i);
    }
    return sum;
  }
};

// Merges the weighted entries that have the sign of their sum, of which zero is positive. Numbers: weights. kMean:
// divided by the sum of the weights that took part, where that is not zero.
template <bool kMean>
struct MergeAgreeingWeighted {
  template <typename Entry>
  FUSEGRID_HOST_DEVICE auto operator()(const Entry& entry) const {
    using Number = decltype(entry(0));
    Number sum{};
    Number positive{};
    Number negative{};
    Number positive_weights{};
    Number negative_weights{};
    for (int i = 0; i < entry.count(); ++i) {
      const Number value = entry(i) * entry.number(i);
      const Number weight = Number{} + entry.number(i);
      sum = sum + value;
      positive = positive + positive_part(value);
      negative = negative + negative_part(value);
      positive_weights = positive_weights + (value > 0.0F ? weight : Number{});
      negative_weights = negative_weights + (value < 0.0F ? weight : Number{});
    }
    const auto is_positive = sum >= 0.0F;
    const Number merged = is_positive ? positive : negative;
    const Number divisor = is_positive ? positive_weights : negative_weights;
    return kMean ? merged / (divisor == 0.0F ? Number{} + 1.0F : divisor) : merged;
  }
};

}  // namespace fusegrid
