#include "worker/log_capture.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <iostream>

#include <fcntl.h>
#include <unistd.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr size_t kTailBytes = 4096;
constexpr int64_t kMostBytesPerPump = 1
                                      << 22;  // an executor that prints faster than we read must not hold us

}  // namespace

LogCapture::LogCapture(std::filesystem::path file, int64_t cap_bytes)
    : file_(std::move(file)), cap_bytes_(cap_bytes) {}

LogCapture::~LogCapture() {
  close_pipe();
}

int LogCapture::open_pipe() {
  close_pipe();
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw IoError(std::string("cannot make a pipe for the executor's log: ") + std::strerror(errno));
  }
  read_end_ = ends[0];
  fcntl(read_end_, F_SETFL, O_NONBLOCK);
  return ends[1];
}

void LogCapture::close_pipe() {
  if (read_end_ >= 0) {
    close(read_end_);
    read_end_ = -1;
  }
}

void LogCapture::pump() {
  std::array<char, 65536> piece;
  for (int64_t total = 0; read_end_ >= 0 && total < kMostBytesPerPump;) {
    const ssize_t got = read(read_end_, piece.data(), piece.size());
    if (got > 0) {
      take(piece.data(), static_cast<size_t>(got));
      total += got;
    } else if (got == 0) {
      close_pipe();  // the process and all its children are gone
    } else if (errno != EINTR) {
      return;
    }
  }
}

void LogCapture::start_item(const std::string& item) {
  item_ = item;
  tail_.clear();
}

void LogCapture::take(const char* data, size_t size) {
  tail_.append(data, size);
  if (tail_.size() > kTailBytes) {
    tail_.erase(0, tail_.size() - kTailBytes);
  }
  if (!item_.empty()) {  // named only once it prints: most items print nothing
    const std::string header = "=== " + item_ + "\n";
    item_.clear();
    write_file(header.data(), header.size());
  }
  write_file(data, size);
}

void LogCapture::write_file(const char* data, size_t size) {
  if (file_.empty() || written_ >= cap_bytes_) {
    return;
  }
  if (!out_.is_open()) {
    out_.open(file_, std::ios::binary | std::ios::app);
  }
  const auto room = static_cast<size_t>(cap_bytes_ - written_);
  out_.write(data, static_cast<std::streamsize>(std::min(size, room)));
  written_ += static_cast<int64_t>(std::min(size, room));
  if (size >= room) {
    out_ << "\n=== the log has reached its " << cap_bytes_ << " bytes; nothing more is written\n";
  }
  out_.flush();
  if (!out_) {
    std::cerr << "fusegrid: cannot write the log " << file_ << "; continuing without it\n";
    file_.clear();
  }
}

}  // namespace fusegrid
