#include "worker/merge_meter.h"

#include <fstream>

#include <c10/core/CachingDeviceAllocator.h>

namespace fusegrid {
namespace {

// From the kernel, see proc(5).
constexpr auto kForgetPeak = "/proc/self/clear_refs";
constexpr auto kStatus = "/proc/self/status";
constexpr auto kPeakLine = "VmHWM:";

}  // namespace

PeakMemory::PeakMemory(at::Device device) : device_(device) {
  if (!device.is_cpu()) {
    c10::getDeviceAllocator(device.type())->resetPeakStats(device.index());
    return;
  }
  std::ofstream forget(kForgetPeak);
  told_ = static_cast<bool>(forget << 5 << std::flush);
}

std::optional<int64_t> PeakMemory::bytes() const {
  if (!device_.is_cpu()) {
    using c10::CachingAllocator::StatType;
    const auto stats = c10::getDeviceAllocator(device_.type())->getDeviceStats(device_.index());
    return stats.allocated_bytes[static_cast<size_t>(StatType::AGGREGATE)].peak;
  }
  std::ifstream status(told_ ? kStatus : "");
  for (std::string word; status >> word;) {
    int64_t kib = 0;
    if (word == kPeakLine && status >> kib) {
      return kib * 1024;
    }
  }
  return std::nullopt;
}

std::map<std::string, double> MergeMeter::costs() const {
  std::map<std::string, double> costs{{"fuse_s", clock_.seconds()},
                                      {"fuse_operations", static_cast<double>(operations_.operations())}};
  if (const auto bytes = peak_.bytes()) {
    costs["fuse_peak_bytes"] = static_cast<double>(*bytes);
  }
  return costs;
}

}  // namespace fusegrid
