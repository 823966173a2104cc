#include "worker/device_clock.h"

#include <thread>

#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <gtest/gtest.h>

namespace fusegrid {
namespace {

// A device whose work takes as long as the test says.
std::chrono::milliseconds work_left{0};
int waits = 0;

struct SlowDevice final : c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::PrivateUse1> {
  void synchronizeDevice(c10::DeviceIndex) const override {
    ++waits;
    std::this_thread::sleep_for(std::exchange(work_left, std::chrono::milliseconds{0}));
  }
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, SlowDevice)

TEST(DeviceClock, counts_the_work_that_a_device_still_had_to_do) {
  const at::Device device(at::kPrivateUse1, 0);
  const DeviceClock clock(device);
  work_left = std::chrono::milliseconds{30};  // asked for, not done
  EXPECT_GE(clock.seconds(), 0.03);
}

TEST(DeviceClock, does_not_count_what_was_asked_for_before) {
  work_left = std::chrono::milliseconds{200};
  const DeviceClock clock(at::Device(at::kPrivateUse1, 0));
  EXPECT_LT(clock.seconds(), 0.2);
}

TEST(DeviceClock, has_nothing_to_wait_for_on_a_cpu) {
  waits = 0;
  const DeviceClock clock(at::kCPU);
  EXPECT_GE(clock.seconds(), 0);
  EXPECT_EQ(waits, 0);
}

}  // namespace
}  // namespace fusegrid
