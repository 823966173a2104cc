// For tests of what runs on an NVIDIA GPU, which are skipped where there is none.
#pragma once

#include <c10/core/Device.h>
#include <gtest/gtest.h>

#include "worker/device.h"

namespace fusegrid {

inline const at::Device kGpu(at::kCUDA, 0);

inline bool has_gpu() {
  return choose_device("auto", 0, 1, HostDevices::here()).device != "cpu";
}

// Before any test of a program, as LibTorch asks only once whether there is CUDA.
class LoadCuda final : public testing::Environment {
  void SetUp() override {
    if (has_gpu()) {
      load_cuda();
    }
  }
};
inline const testing::Environment* const kLoadCuda = testing::AddGlobalTestEnvironment(new LoadCuda);

}  // namespace fusegrid
