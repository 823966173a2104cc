#pragma once

#include <optional>
#include <string>

namespace fusegrid {

// Frames over a stream socket: length and CRC-32 (4 bytes each, little-endian), then the payload. The
// executor process may be killed or write nonsense at any point: the reader then sees the end of the stream
// or a DataError, never half a frame.
class FrameSocket {
 public:
  explicit FrameSocket(int fd);  // owns it; makes it non-blocking and close-on-exec
  ~FrameSocket();
  FrameSocket(const FrameSocket&) = delete;
  FrameSocket& operator=(const FrameSocket&) = delete;

  int fd() const { return fd_; }
  // Queues a frame and writes what fits; the rest goes with later calls of pump().
  void send(const std::string& payload);
  // Writes what is queued, reads what has arrived; never waits.
  void pump();
  // The next whole frame, if there is one. Throws DataError where the stream is damaged.
  std::optional<std::string> receive();
  bool closed() const { return closed_; }  // by the other side
  void shutdown();                         // tells the other side that no more comes
  bool wants_to_write() const { return !out_.empty(); }

 private:
  void write_out();
  void forget_sent(size_t bytes);
  void read_in();

  int fd_;
  std::string out_, in_;
  size_t sent_ = 0;  // bytes at the front of out_
  bool closed_ = false;
};

}  // namespace fusegrid
