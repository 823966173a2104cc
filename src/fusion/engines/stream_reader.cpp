#include "fusion/engines/stream_reader.h"

#include <algorithm>
#include <array>
#include <map>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <c10/core/StreamGuard.h>

#include "checkpoint/non_finite.h"
#include "core/errors.h"
#include "fusion/engines/stream_device.h"

namespace fusegrid {

// Two buffers in turn: one is read into while the other is copied from. Small ones: page-locking takes time, and what
// was just read is still in the cache when it is copied.
constexpr int64_t kStagingBytes = int64_t{2} << 20;

struct StreamReader::Staging {
  explicit Staging(at::Device on) : device(on), stream(pooled_stream(on)) {
    for (auto& buffer : buffers) {
      buffer = at::empty({kStagingBytes}, at::TensorOptions().dtype(at::kByte).pinned_memory(true));
    }
  }
  at::Device device;
  c10::Stream stream;
  std::array<at::Tensor, 2> buffers;
  std::array<std::optional<c10::Event>, 2> copied;
  size_t turn = 0;
};

StreamReader::StreamReader(std::vector<const ModelSource*> sources, const std::vector<TensorInfo>& tensors,
                           Options options)
    : sources_(std::move(sources)), tensors_(tensors), options_(options), slots_(options.slots) {
  for (const ModelSource* source : sources_) {
    std::map<std::string, at::ScalarType> stored;
    for (const TensorInfo& info : source->tensors()) {
      stored.emplace(info.name, info.dtype);
    }
    auto& row = dtypes_.emplace_back();
    for (const TensorInfo& info : tensors_) {
      row.push_back(stored.at(info.name));
      element_bytes_ = std::max(element_bytes_, static_cast<int64_t>(c10::elementSize(row.back())));
    }
  }
  const int64_t bytes = options_.range_elements * element_bytes_;
  for (Place& slot : slots_) {
    slot.copied.resize(sources_.size());
    slot.views.resize(sources_.size());
    slot.non_finite.resize(sources_.size());
    for (size_t source = 0; source < sources_.size(); ++source) {
      slot.bytes.push_back(at::empty({bytes}, at::TensorOptions(options_.device).dtype(at::kByte)));
    }
  }
  keep_left_ = options_.keep_bytes;
  staging_.resize(options_.threads);
  buffer_bytes_ = host_bytes(options_, sources_.size(), element_bytes_);
}

StreamReader::~StreamReader() {
  stop();
}

int64_t StreamReader::host_bytes(const Options& options, size_t sources, int64_t element_bytes) {
  return options.device.is_cpu()
             ? options.range_elements * element_bytes * options.slots * static_cast<int64_t>(sources)
             : kStagingBytes * 2 * std::max(1, options.threads);
}

int64_t StreamReader::bytes_of(size_t source, const StreamRange& range) const {
  return range.count * static_cast<int64_t>(c10::elementSize(dtypes_[source][range.tensor]));
}

void StreamReader::start(std::vector<StreamRange> ranges, Observe observe) {
  stop();
  ranges_ = std::move(ranges);
  observe_ = std::move(observe);
  next_task_ = taken_ = released_ = 0;
  stopping_ = false;
  error_ = nullptr;
  for (Place& slot : slots_) {
    slot.missing = sources_.size();
  }
  places_.clear();
  tasks_.clear();
  for (size_t range = 0; range < ranges_.size(); ++range) {
    places_.push_back(place_of(range));
    for (size_t source = 0; source < sources_.size() && places_.back()->missing > 0; ++source) {
      tasks_.push_back({range, source});
    }
  }
  for (size_t i = 0; i < staging_.size() && !tasks_.empty(); ++i) {
    threads_.emplace_back([this, i] { work(staging_[i]); });
  }
}

StreamReader::Place* StreamReader::place_of(size_t range) {
  Place* slot = &slots_[range % slots_.size()];
  if (options_.keep_bytes == 0) {
    return slot;
  }
  const StreamRange& what = ranges_[range];
  auto& kept = kept_[{what.tensor, what.begin}];
  if (!kept) {
    kept = keep(what);
  }
  // The passes of a merge cut tensors alike; one that a pass cuts otherwise is read again.
  if (!kept || kept->bytes.front().numel() != bytes_of(0, what)) {
    return slot;
  }
  if (kept->missing > 0) {  // new, or given up half way
    kept->missing = sources_.size();
  }
  return kept.get();
}

std::unique_ptr<StreamReader::Place> StreamReader::keep(const StreamRange& range) {
  auto place = std::make_unique<Place>();
  place->missing = sources_.size();
  place->copied.resize(sources_.size());
  place->views.resize(sources_.size());
  place->non_finite.resize(sources_.size());
  for (size_t source = 0; source < sources_.size(); ++source) {
    place->bytes.push_back(carve(bytes_of(source, range)));
    if (!place->bytes.back().defined()) {
      return nullptr;
    }
  }
  return place;
}

// From large allocations: each takes the driver a while.
at::Tensor StreamReader::carve(int64_t bytes) {
  constexpr int64_t kSlabBytes = int64_t{1} << 30;
  constexpr int64_t kAlignment = 256;
  if (!slab_.defined() || slab_used_ + bytes > slab_.numel()) {
    const int64_t slab = std::min(kSlabBytes, keep_left_);
    if (bytes > slab) {
      return {};
    }
    slab_ = at::empty({slab}, at::TensorOptions(options_.device).dtype(at::kByte));
    slab_used_ = 0;
    keep_left_ -= slab;
  }
  const at::Tensor part = slab_.narrow(0, slab_used_, bytes);
  slab_used_ = std::min(slab_.numel(), (slab_used_ + bytes + kAlignment - 1) / kAlignment * kAlignment);
  return part;
}

void StreamReader::stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (auto& thread : threads_) {
    thread.join();
  }
  threads_.clear();
}

void StreamReader::work(std::unique_ptr<Staging>& staging) {
  const at::NoGradGuard no_gradients;
  std::unique_lock lock(mutex_, std::defer_lock);
  try {
    if (!options_.device.is_cpu() && !staging) {
      staging = std::make_unique<Staging>(options_.device);
    }
    lock.lock();
    while (true) {
      changed_.wait(lock, [&] {
        return stopping_ || error_ || next_task_ >= tasks_.size() ||
               tasks_[next_task_].range < released_ + slots_.size();
      });
      if (stopping_ || error_ || next_task_ >= tasks_.size()) {
        return;
      }
      const Task task = tasks_[next_task_++];
      lock.unlock();
      read(task, staging.get());
      lock.lock();
      if (--places_[task.range]->missing == 0) {
        changed_.notify_all();
      }
    }
  } catch (...) {
    if (!lock.owns_lock()) {
      lock.lock();
    }
    error_ = std::current_exception();
    changed_.notify_all();
  }
}

void StreamReader::read(const Task& task, Staging* staging) {
  const StreamRange& what = ranges_[task.range];
  const int64_t bytes = bytes_of(task.source, what);
  if (staging != nullptr) {
    read_through(*staging, task);
  } else {
    void* host = places_[task.range]->bytes[task.source].mutable_data_ptr();
    sources_[task.source]->read_range(tensors_[what.tensor].name, what.begin, what.count, host);
    places_[task.range]->non_finite[task.source] = look_at(task.source, what, host);
  }
  const std::scoped_lock lock(mutex_);
  bytes_read_ += bytes;
}

void StreamReader::read_through(Staging& staging, const Task& task) {
  const StreamRange& what = ranges_[task.range];
  const auto width = static_cast<int64_t>(c10::elementSize(dtypes_[task.source][what.tensor]));
  Place& to = *places_[task.range];
  to.non_finite[task.source] = 0;
  const c10::StreamGuard on(staging.stream);
  if (to.used) {
    to.used->block(staging.stream);
  }
  for (int64_t done = 0; done < what.count; done += kStagingBytes / width) {
    const StreamRange part{what.tensor, what.begin + done,
                           std::min(kStagingBytes / width, what.count - done)};
    staging.turn = 1 - staging.turn;
    auto& copied = staging.copied[staging.turn];
    if (copied) {
      copied->synchronize();
    }
    const at::Tensor& buffer = staging.buffers[staging.turn];
    sources_[task.source]->read_range(tensors_[part.tensor].name, part.begin, part.count,
                                      buffer.mutable_data_ptr());
    to.non_finite[task.source] += look_at(task.source, part, buffer.const_data_ptr());
    to.bytes[task.source]
        .narrow(0, done * width, part.count * width)
        .copy_(buffer.narrow(0, 0, part.count * width), true);
    record(copied, staging.stream);
  }
  record(to.copied[task.source], staging.stream);
}

int64_t StreamReader::look_at(size_t source, const StreamRange& part, const void* bytes) const {
  const int64_t non_finite = count_non_finite(bytes, dtypes_[source][part.tensor], part.count);
  if (observe_) {
    observe_(source, part, bytes, non_finite);
  }
  return non_finite;
}

bool StreamReader::has_non_finite() const {
  const auto& counts = places_[released_]->non_finite;
  return std::any_of(counts.begin(), counts.end(), [](int64_t count) { return count > 0; });
}

std::vector<at::Tensor> StreamReader::next() {
  FUSEGRID_ASSERT(taken_ == released_ && taken_ < ranges_.size(), "range " + std::to_string(taken_));
  Place& ready = *places_[taken_];
  if (options_.threads == 0) {
    for (; next_task_ < tasks_.size() && tasks_[next_task_].range == taken_; ++next_task_) {
      read(tasks_[next_task_], nullptr);
      --ready.missing;
    }
  } else {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return error_ || ready.missing == 0; });
    if (error_) {
      std::rethrow_exception(error_);
    }
  }
  const StreamRange& what = ranges_[taken_++];
  std::vector<at::Tensor> values;
  for (size_t source = 0; source < sources_.size(); ++source) {
    if (ready.copied[source]) {
      ready.copied[source]->block(current_stream(options_.device));
    }
    values.push_back(view(ready, source, what));
  }
  return values;
}

const at::Tensor& StreamReader::view(Place& place, size_t source, const StreamRange& range) const {
  at::Tensor& last = place.views[source];
  const at::ScalarType dtype = dtypes_[source][range.tensor];
  if (!last.defined() || last.scalar_type() != dtype || last.numel() != range.count) {
    last = place.bytes[source].narrow(0, 0, bytes_of(source, range)).view(dtype);
  }
  return last;
}

void StreamReader::release() {
  Place& done = *places_[released_];
  const bool is_slot = &done == &slots_[released_ % slots_.size()];
  if (is_slot && !options_.device.is_cpu()) {
    record(done.used, current_stream(options_.device));
  }
  {
    const std::scoped_lock lock(mutex_);
    ++released_;
    done.missing = is_slot ? sources_.size() : 0;
  }
  changed_.notify_all();
}

}  // namespace fusegrid
