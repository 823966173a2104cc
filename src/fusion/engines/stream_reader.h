#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

#include "checkpoint/model_source.h"
#include "fusion/engines/stream_layout.h"

namespace fusegrid {

// Reads ranges of all models ahead of the arithmetic, with several threads and a fixed amount of memory. For a GPU,
// the threads read into page-locked memory of their own and copy from there on streams of their own. Ranges can stay on
// the device, as far as its memory goes: a later pass over the same ranges then reads nothing.
class StreamReader {
 public:
  struct Options {
    int threads = 1;             // 0: next() reads
    int slots = 2;               // ranges in memory at once, the one in use included
    int64_t range_elements = 0;  // of the longest range
    int64_t keep_bytes = 0;      // on the device, for ranges that stay there
    at::Device device = at::kCPU;
  };
  // Sees the bytes of all that is read, of every model, as stored, in parts that begin at multiples of 65,536 elements
  // of their range, and how many of them are not finite; called by the reading threads.
  using Observe =
      std::function<void(size_t source, const StreamRange& range, const void* bytes, int64_t non_finite)>;

  // tensors: names of what is read; the ranges number them. Sources and tensors must outlive the reader.
  StreamReader(std::vector<const ModelSource*> sources, const std::vector<TensorInfo>& tensors,
               Options options);
  ~StreamReader();
  StreamReader(const StreamReader&) = delete;
  StreamReader& operator=(const StreamReader&) = delete;

  // Begins to read these ranges, in this order. What was still being read is given up.
  void start(std::vector<StreamRange> ranges, Observe observe);
  // The next range of every source: 1-D, in the dtype it is stored in, on the device. Throws what reading threw.
  std::vector<at::Tensor> next();
  // Whether the range that next() gave has elements that are not finite (checkpoint/non_finite.h), in any source.
  bool has_non_finite() const;
  // The range that next() gave is no longer used (by anything that was enqueued on the current stream so far).
  void release();
  void stop();

  at::ScalarType dtype(size_t source, size_t tensor) const { return dtypes_[source][tensor]; }
  int64_t bytes_read() const { return bytes_read_; }  // since the reader was made
  int64_t buffer_bytes() const { return buffer_bytes_; }
  // What buffer_bytes() would be on the host.
  static int64_t host_bytes(const Options& options, size_t sources, int64_t element_bytes);

 private:
  // Where a range of all sources lies on the device: a slot, which ranges take in turn, or a place of its own.
  struct Place {
    std::vector<at::Tensor> bytes;  // per source; uint8
    std::vector<at::Tensor>
        views;  // per source: what next() gave last, as making a view takes LibTorch a while
    std::vector<int64_t> non_finite;  // per source: elements
    size_t missing = 0;               // sources that are not there yet
    std::vector<std::optional<c10::Event>> copied;
    std::optional<c10::Event> used;
  };
  struct Staging;  // one thread's page-locked memory
  struct Task {
    size_t range = 0, source = 0;
  };

  Place* place_of(size_t range);
  const at::Tensor& view(Place& place, size_t source, const StreamRange& range) const;
  std::unique_ptr<Place> keep(const StreamRange& range);
  at::Tensor carve(int64_t bytes);
  int64_t bytes_of(size_t source, const StreamRange& range) const;
  void work(std::unique_ptr<Staging>& staging);
  void read(const Task& task, Staging* staging);
  void read_through(Staging& staging, const Task& task);
  int64_t look_at(size_t source, const StreamRange& part, const void* bytes) const;

  std::vector<const ModelSource*> sources_;
  const std::vector<TensorInfo>& tensors_;
  Options options_;
  std::vector<std::vector<at::ScalarType>> dtypes_;  // [source][tensor]
  int64_t element_bytes_ = 1;                        // of the widest dtype
  std::vector<Place> slots_;
  std::map<std::pair<size_t, int64_t>, std::unique_ptr<Place>> kept_;  // by tensor and begin
  at::Tensor slab_;                                                    // what kept places are carved from
  int64_t slab_used_ = 0, keep_left_ = 0;
  std::vector<std::unique_ptr<Staging>> staging_;  // per thread
  int64_t buffer_bytes_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<StreamRange> ranges_;
  std::vector<Place*> places_;  // of every range
  std::vector<Task> tasks_;     // what is to be read
  Observe observe_;
  size_t next_task_ = 0;
  size_t taken_ = 0;  // ranges that next() has given
  size_t released_ = 0;
  bool stopping_ = false;
  std::exception_ptr error_;
  int64_t bytes_read_ = 0;
  std::vector<std::thread> threads_;
};

}  // namespace fusegrid
