#include "fusion/engines/stream_writer.h"

#include <algorithm>

#include <ATen/ops/empty.h>

#include "core/errors.h"
#include "fusion/engines/stream_device.h"

namespace fusegrid {

StreamWriter::StreamWriter(StreamSink& sink, Options options) : sink_(sink), options_(options) {
  const auto kind = at::TensorOptions().dtype(at::kByte).pinned_memory(!options_.device.is_cpu());
  for (int i = 0; i < options_.buffers; ++i) {
    buffers_.push_back(at::empty({options_.buffer_elements * options_.element_bytes}, kind));
    free_.push_back(i);
  }
  copied_.resize(options_.buffers);
  for (int i = 0; i < options_.threads; ++i) {
    threads_.emplace_back([this] { work(); });
  }
}

StreamWriter::~StreamWriter() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (auto& thread : threads_) {
    thread.join();
  }
}

int64_t StreamWriter::buffer_bytes() const {
  return options_.buffers * options_.buffer_elements * options_.element_bytes;
}

size_t StreamWriter::take_buffer() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return error_ || !free_.empty(); });
  if (error_) {
    std::rethrow_exception(error_);
  }
  const size_t buffer = free_.back();
  free_.pop_back();
  return buffer;
}

void StreamWriter::write(const Target& target, const StreamRange& range, const at::Tensor& values) {
  const at::Tensor flat = values.reshape({-1});
  for (int64_t done = 0; done < range.count; done += options_.buffer_elements) {
    const int64_t count = std::min(options_.buffer_elements, range.count - done);
    Piece piece{target, {range.tensor, range.begin + done, count}, take_buffer()};
    fill(piece, flat.narrow(0, done, count));
    if (options_.threads == 0) {
      put(piece);
      free_.push_back(piece.buffer);
      continue;
    }
    {
      const std::scoped_lock lock(mutex_);
      pieces_.push_back(piece);
    }
    changed_.notify_all();
  }
}

void StreamWriter::fill(Piece& piece, const at::Tensor& values) {
  const int64_t bytes = piece.range.count * static_cast<int64_t>(c10::elementSize(piece.target.dtype));
  at::Tensor buffer = buffers_[piece.buffer].narrow(0, 0, bytes).view(piece.target.dtype);
  if (options_.device.is_cpu()) {
    buffer.copy_(values);
    return;
  }
  buffer.copy_(values.to(piece.target.dtype), true);
  record(copied_[piece.buffer], current_stream(options_.device));
}

void StreamWriter::put(const Piece& piece) {
  if (copied_[piece.buffer]) {
    copied_[piece.buffer]->synchronize();
  }
  sink_.write(piece.target.output, piece.target.stage, piece.range, buffers_[piece.buffer].const_data_ptr());
  const std::scoped_lock lock(mutex_);
  bytes_written_ += piece.range.count * static_cast<int64_t>(c10::elementSize(piece.target.dtype));
}

// One thread writes to a file at a time: file systems let writers of one file wait for each other, and threads that
// wait in the kernel turn there and take processors from those that read.
std::deque<StreamWriter::Piece>::iterator StreamWriter::next_piece() {
  return std::find_if(pieces_.begin(), pieces_.end(), [&](const Piece& piece) {
    return !busy_.contains({piece.target.output, piece.target.stage});
  });
}

void StreamWriter::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stopping_ || next_piece() != pieces_.end(); });
    if (stopping_) {
      return;
    }
    const auto next = next_piece();
    const Piece piece = *next;
    pieces_.erase(next);
    const auto file = busy_.emplace(piece.target.output, piece.target.stage).first;
    const bool failed = error_ != nullptr;
    lock.unlock();
    std::exception_ptr error;
    try {
      if (!failed) {
        put(piece);
      }
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    busy_.erase(file);
    error_ = error && !error_ ? error : error_;
    free_.push_back(piece.buffer);
    changed_.notify_all();
  }
}

void StreamWriter::flush() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return error_ || free_.size() == buffers_.size(); });
  if (error_) {
    std::rethrow_exception(error_);
  }
}

}  // namespace fusegrid
