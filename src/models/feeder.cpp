#include "models/feeder.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace fusegrid {
namespace {

constexpr size_t kBuffers = 3;       // page-locked; one is filled, one travels, one waits
constexpr size_t kReadyBatches = 2;  // on the device, not visited yet
constexpr int64_t kCopyThreads = 4;  // one does not keep up with the bus
constexpr int64_t kCopyPiece = int64_t{4} << 20;

void copy_in_threads(const at::Tensor& from, const at::Tensor& to) {
  const auto bytes = static_cast<int64_t>(from.nbytes());
  const int64_t pieces = std::clamp<int64_t>(bytes / kCopyPiece, 1, kCopyThreads);
  const auto* source = static_cast<const char*>(from.const_data_ptr());
  auto* target = static_cast<char*>(to.mutable_data_ptr());
  const auto copy = [&](int64_t piece) {
    const int64_t begin = bytes * piece / pieces;
    std::memcpy(target + begin, source + begin, static_cast<size_t>(bytes * (piece + 1) / pieces - begin));
  };
  std::vector<std::jthread> threads;
  for (int64_t piece = 1; piece < pieces; ++piece) {
    threads.emplace_back(copy, piece);
  }
  copy(0);
}

struct ReadyBatch {
  Inputs inputs;
  at::Tensor places;
  c10::Event made;  // on the copying stream
};

// The thread that makes batches ready, and the queue of those that it made.
class Feeder {
 public:
  Feeder(const Network& network, const Inputs& inputs, int64_t batch)
      : network_(network),
        devices_(network.device.type()),
        copying_(devices_.getStreamFromGlobalPool(network.device)),
        thread_([this, &inputs, batch] { run(inputs, batch); }) {}
  ~Feeder() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Feeder(const Feeder&) = delete;
  Feeder& operator=(const Feeder&) = delete;

  // The next batch, ready for the caller's stream; none after the last. Throws what made one fail.
  std::optional<ReadyBatch> next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !made_.empty() || ended_; });
    if (made_.empty()) {
      if (failure_) {
        std::rethrow_exception(failure_);
      }
      return std::nullopt;
    }
    ReadyBatch batch = std::move(made_.front());
    made_.pop_front();
    lock.unlock();
    changed_.notify_all();
    const c10::Stream mine = devices_.getStream(network_.device);
    batch.made.block(mine);
    for (const at::Tensor& tensor : batch.inputs.tensors()) {
      tensor.record_stream(mine);  // its memory belongs to the copying stream
    }
    return batch;
  }

 private:
  struct Stopped {};
  struct Buffer {
    at::Tensor bytes;                 // page-locked
    std::optional<c10::Event> taken;  // its last content has left
  };

  void run(const Inputs& inputs, int64_t batch) {
    const at::NoGradGuard no_grad;
    try {
      const c10::StreamGuard guard(copying_);
      for_each_batch(inputs, batch,
                     [&](const Inputs& part, const at::Tensor& places) { push(make(part), places); });
    } catch (const Stopped&) {
    } catch (...) {
      const std::lock_guard lock(mutex_);
      failure_ = std::current_exception();
    }
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }

  Inputs make(const Inputs& part) {
    if (!part.images.defined()) {
      return network_.ready(part);  // rows of tokens are small
    }
    Inputs locked = part;
    Buffer& buffer = buffers_[next_buffer_++ % kBuffers];
    locked.images = lock_pages(part.images, buffer);
    Inputs moved = locked;
    moved.images = locked.images.to(network_.device, /*non_blocking=*/true);
    buffer.taken.emplace(devices_.type());
    buffer.taken->record(copying_);
    return network_.ready(moved);
  }

  at::Tensor lock_pages(const at::Tensor& images, Buffer& buffer) {
    if (buffer.taken) {
      buffer.taken->synchronize();
    }
    const auto bytes = static_cast<int64_t>(images.nbytes());
    if (!buffer.bytes.defined() || buffer.bytes.numel() < bytes) {
      buffer.bytes = at::empty({bytes}, at::TensorOptions(at::kByte).pinned_memory(true));
    }
    const at::Tensor locked = buffer.bytes.narrow(0, 0, bytes).view(images.sizes());
    copy_in_threads(images.contiguous(), locked);
    return locked;
  }

  void push(Inputs ready, const at::Tensor& places) {
    c10::Event made(devices_.type());
    made.record(copying_);
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return made_.size() < kReadyBatches || stopped_; });
    if (stopped_) {
      throw Stopped();
    }
    made_.push_back({std::move(ready), places, std::move(made)});
    lock.unlock();
    changed_.notify_all();
  }

  const Network& network_;
  c10::impl::VirtualGuardImpl devices_;
  c10::Stream copying_;
  std::array<Buffer, kBuffers> buffers_;
  size_t next_buffer_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<ReadyBatch> made_;
  bool stopped_ = false, ended_ = false;
  std::exception_ptr failure_;
  std::thread thread_;  // last: it uses all of the above
};

bool are_on(const Inputs& inputs, at::Device device) {
  return inputs.tensors().front().device() == device;
}

}  // namespace

void feed(const Network& network, const Inputs& inputs, int64_t batch,
          const std::function<void(const Inputs& ready, const at::Tensor& places)>& visit) {
  if (network.device.is_cpu() || are_on(inputs, network.device)) {
    for_each_batch(inputs, batch,
                   [&](const Inputs& part, const at::Tensor& places) { visit(network.ready(part), places); });
    return;
  }
  Feeder feeder(network, inputs, batch);
  while (const auto ready = feeder.next()) {
    visit(ready->inputs, ready->places);
  }
}

}  // namespace fusegrid
