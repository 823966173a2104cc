// How numbers order, the same source for the CPU's loops and for the GPU's kernels (device_kernels.cu).
#pragma once

#include <cstdint>
#include <cstring>

#include "core/host_device.h"

namespace fusegrid {

enum class Order { kValues, kMagnitudes };

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

}  // namespace fusegrid
