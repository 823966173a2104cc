#include "worker/device_clock.h"

#include <c10/core/impl/VirtualGuardImpl.h>

namespace fusegrid {

void wait_for_device(at::Device device) {
  if (!device.is_cpu()) {
    c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
  }
}

DeviceClock::DeviceClock(at::Device device) : device_(device) {
  wait_for_device(device_);  // what was asked for before is not this clock's
  start_ = std::chrono::steady_clock::now();
}

double DeviceClock::seconds() const {
  wait_for_device(device_);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

}  // namespace fusegrid
