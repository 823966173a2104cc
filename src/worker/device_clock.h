#pragma once

#include <chrono>

#include <c10/core/Device.h>

namespace fusegrid {

// Waits until the device has done all that it was asked for. A CPU has when the call that asked returns.
void wait_for_device(at::Device device);

// Times work on a device. A GPU works behind its program's back: without waiting, the seconds would be those of asking.
class DeviceClock {
 public:
  explicit DeviceClock(at::Device device);
  double seconds() const;  // since it was made, all work done

 private:
  at::Device device_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace fusegrid
