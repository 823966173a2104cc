#pragma once

#include <cstdint>
#include <optional>

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Event.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace fusegrid {

// Streams of a device whose half of LibTorch is loaded at run time (worker/device.h), so that nothing of CUDA is
// linked.
inline c10::Stream current_stream(c10::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}
inline c10::Stream pooled_stream(c10::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
}
// Records anew; an event is made once, which takes the driver longer than using it.
inline void record(std::optional<c10::Event>& event, const c10::Stream& stream) {
  if (!event) {
    event.emplace(stream.device_type());
  }
  event->record(stream);
}

// Bytes that nothing uses yet, of the device's own memory.
inline int64_t free_memory(c10::Device device) {
  return static_cast<int64_t>(c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index()).first);
}

}  // namespace fusegrid
