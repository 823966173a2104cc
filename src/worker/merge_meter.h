#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include <c10/core/Device.h>

#include "core/operation_count.h"
#include "worker/device_clock.h"

namespace fusegrid {

// The most memory in use since it was made: what tensors hold on a GPU, or what the process has resident.
class PeakMemory {
 public:
  explicit PeakMemory(at::Device device);
  std::optional<int64_t> bytes() const;  // nothing where the system does not tell

 private:
  at::Device device_;
  bool told_ = true;
};

// What making a merge costs, from when it is made: "fuse_s", seconds; "fuse_operations" (core/operation_count.h), of
// this rank; "fuse_peak_bytes", with the models that were there before. One at a time.
class MergeMeter {
 public:
  explicit MergeMeter(at::Device device) : peak_(device), clock_(device) {}
  std::map<std::string, double> costs() const;

 private:
  PeakMemory peak_;
  OperationCount operations_;
  DeviceClock clock_;
};

}  // namespace fusegrid
