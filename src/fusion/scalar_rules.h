// Rules for one number, the same source for the CPU's loops and for the GPU's kernels (device_kernels.cu).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/host_device.h"

namespace fusegrid {

enum class Order { kValues, kMagnitudes };
enum class AgreeingMerge { kSum, kMean, kMax };

// Floats, or their magnitudes, order like these integers: the bits, once those of negative numbers are turned around.
FUSEGRID_HOST_DEVICE inline uint32_t ordered_bits(float value, Order order) {
  constexpr uint32_t kSign = 0x80000000U;
  uint32_t bits = 0;
  memcpy(&bits, &value, sizeof(bits));
  if (order == Order::kMagnitudes) {
    return bits | kSign;
  }
  return (bits & kSign) != 0 ? ~bits : bits | kSign;
}

// What is not a number stays.
FUSEGRID_HOST_DEVICE inline float trimmed_value(float value, float threshold) {
  return fabsf(value) < threshold ? 0.0F : value;
}

// The sign of a sum as 1 or -1; a sum of zero is positive where the majority of all sums is.
FUSEGRID_HOST_DEVICE inline float elected_sign(float sum, bool positive_majority) {
  return (positive_majority ? sum >= 0 : sum > 0) ? 1.0F : -1.0F;
}

FUSEGRID_HOST_DEVICE inline float agreeing_value(float value, float sign) {
  return value * sign <= 0 ? 0.0F : value;
}

}  // namespace fusegrid
