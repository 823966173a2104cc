#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

#include "fusion/engines/stream_layout.h"
#include "fusion/engines/stream_sink.h"

namespace fusegrid {

// Converts results to the dtype of the output and hands them to the sink, with several threads and a fixed number of
// buffers (page-locked for a GPU): write() waits where the disk does not keep up.
class StreamWriter {
 public:
  struct Options {
    int threads = 1;  // 0: write() itself writes
    int buffers = 2;
    int64_t buffer_elements = 0;
    int64_t element_bytes = 4;
    at::Device device = at::kCPU;
  };
  StreamWriter(StreamSink& sink, Options options);
  ~StreamWriter();
  StreamWriter(const StreamWriter&) = delete;
  StreamWriter& operator=(const StreamWriter&) = delete;

  struct Target {
    size_t output = 0;
    size_t stage = 0;
    at::ScalarType dtype = at::kFloat;
  };
  // values: float32 of range.count elements in C order, any shape, on the device; free again when it returns. Throws
  // what an earlier write threw.
  void write(const Target& target, const StreamRange& range, const at::Tensor& values);
  // Waits until all is written. Throws what writing threw.
  void flush();

  int64_t bytes_written() const { return bytes_written_; }
  int64_t buffer_bytes() const;

 private:
  struct Piece {
    Target target;
    StreamRange range;
    size_t buffer = 0;
  };
  size_t take_buffer();
  void fill(Piece& piece, const at::Tensor& values);
  void put(const Piece& piece);
  std::deque<Piece>::iterator next_piece();
  void work();

  StreamSink& sink_;
  Options options_;
  std::vector<at::Tensor> buffers_;
  std::vector<std::optional<c10::Event>> copied_;  // per buffer

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<size_t> free_;
  std::deque<Piece> pieces_;
  std::set<std::pair<size_t, size_t>> busy_;  // output and stage of what is being put
  bool stopping_ = false;
  std::exception_ptr error_;
  int64_t bytes_written_ = 0;
  std::vector<std::thread> threads_;
};

}  // namespace fusegrid
