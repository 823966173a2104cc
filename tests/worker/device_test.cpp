#include "worker/device.h"

#include <fstream>

#include <ATen/Version.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;

class DeviceTest : public testing::Test {
 protected:
  DeviceTest() {
    proc_ = fs::path(testing::TempDir()) / ("proc-" + std::to_string(getpid()));
    fs::create_directories(proc_);
    std::ofstream(proc_ / "cpuinfo") << "processor\t: 0\nmodel name\t: Fast CPU\n";
  }
  ~DeviceTest() override { fs::remove_all(proc_); }

  HostDevices host(int gpus, std::optional<std::string> visible = std::nullopt) {
    for (int i = 0; i < gpus; ++i) {
      const fs::path folder = proc_ / "driver/nvidia/gpus" / ("0000:0" + std::to_string(i) + ":00.0");
      fs::create_directories(folder);
      std::ofstream(folder / "information")
          << "Model: \t\t Fast GPU " << i << "\nGPU UUID: \t GPU-aa" << i << "-0\n";
    }
    return {visible, false, proc_};
  }

  fs::path proc_;
};

TEST_F(DeviceTest, GivesWorkerKTheGpuK) {
  const auto choice = choose_device("auto", 2, 3, host(4));

  EXPECT_EQ(choice.device, "cuda:0");
  EXPECT_EQ(choice.visible_gpus, "2");
  EXPECT_EQ(choice.description, "gpu 2, Fast GPU 2");
}

TEST_F(DeviceTest, RespectsVisibleDevices) {
  EXPECT_EQ(choose_device("cuda", 1, 2, host(4, "3,1,-1,0")).visible_gpus, "1");
  EXPECT_EQ(choose_device("cuda", 1, 2, host(4, "3,1,-1,0")).description, "gpu 1, Fast GPU 1");
  EXPECT_EQ(choose_device("cuda", 1, 2, host(4, "3,1,-1,0")).kind, "Fast GPU 1");
  const auto by_uuid = choose_device("auto", 0, 1, host(4, "GPU-aa2"));
  EXPECT_EQ(by_uuid.visible_gpus, "GPU-aa2");
  EXPECT_EQ(by_uuid.description, "gpu GPU-aa2, Fast GPU 2");
}

TEST_F(DeviceTest, UsesTheCpuWhereThereIsNoGpuOrItIsToldTo) {
  EXPECT_EQ(choose_device("auto", 0, 9, host(0)).device, "cpu");
  EXPECT_EQ(choose_device("auto", 0, 9, host(0)).description, "cpu, Fast CPU");
  EXPECT_EQ(choose_device("auto", 0, 9, host(0)).kind, "Fast CPU, " + at::get_cpu_capability());
  EXPECT_EQ(choose_device("auto", 0, 9, host(2, "")).device, "cpu");
  EXPECT_EQ(choose_device("cpu", 5, 9, host(2)).device, "cpu");
  EXPECT_EQ(choose_device("cpu", 5, 9, host(2)).visible_gpus, "");
}

TEST_F(DeviceTest, RefusesMoreWorkersThanGpus) {
  const auto text = message_of<DeviceError>([&] { choose_device("auto", 2, 3, host(2)); });

  EXPECT_THAT(text, testing::AllOf(testing::HasSubstr("3 workers"), testing::HasSubstr("2 visible GPUs"),
                                   testing::HasSubstr("--device cpu")));
}

TEST_F(DeviceTest, RefusesCudaWithoutGpu) {
  EXPECT_THAT(message_of<DeviceError>([&] { choose_device("cuda", 0, 1, host(0)); }),
              testing::HasSubstr("no GPU"));
  EXPECT_THAT(message_of<DeviceError>([&] { choose_device("cuda", 0, 1, host(2, "-1")); }),
              testing::HasSubstr("CUDA_VISIBLE_DEVICES='-1'"));
  EXPECT_THROW(choose_device("gpu", 0, 1, host(2)), ConfigError);
}

TEST_F(DeviceTest, TakesTheFirstGpuWhereTheLauncherBoundThem) {
  HostDevices bound = host(4, "0");
  bound.gpus_bound_per_rank = true;

  EXPECT_EQ(choose_device("auto", 3, 4, bound).visible_gpus, "0");
}

}  // namespace
}  // namespace fusegrid
