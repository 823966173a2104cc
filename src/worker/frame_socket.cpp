#include "worker/frame_socket.h"

#include <array>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr size_t kHeaderBytes = 8;
constexpr uint32_t kMaxPayload = 1U << 30;

uint32_t checksum(const char* data, size_t size) {
  return static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(data), size));
}

}  // namespace

FrameSocket::FrameSocket(int fd) : fd_(fd) {
  const bool ok =
      fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
  if (!ok) {
    throw IoError("cannot use descriptor " + std::to_string(fd) + " as a socket: " + std::strerror(errno));
  }
}

FrameSocket::~FrameSocket() {
  close(fd_);
}

void FrameSocket::send(const std::string& payload) {
  FUSEGRID_ASSERT(payload.size() <= kMaxPayload, "a frame of " + std::to_string(payload.size()) + " bytes");
  const std::array<uint32_t, 2> header{static_cast<uint32_t>(payload.size()),
                                       checksum(payload.data(), payload.size())};
  out_.append(reinterpret_cast<const char*>(header.data()), kHeaderBytes);
  out_.append(payload);
  write_out();
}

void FrameSocket::pump() {
  write_out();
  read_in();
}

std::optional<std::string> FrameSocket::receive() {
  if (in_.size() < kHeaderBytes) {
    return std::nullopt;
  }
  std::array<uint32_t, 2> header{};
  std::memcpy(header.data(), in_.data(), kHeaderBytes);
  const auto [size, expected] = header;
  if (size > kMaxPayload) {
    throw DataError("a frame claims " + std::to_string(size) + " bytes");
  }
  if (in_.size() < kHeaderBytes + size) {
    return std::nullopt;
  }
  if (checksum(in_.data() + kHeaderBytes, size) != expected) {
    throw DataError("a frame of " + std::to_string(size) + " bytes has a wrong checksum");
  }
  std::string payload = in_.substr(kHeaderBytes, size);
  in_.erase(0, kHeaderBytes + size);
  return payload;
}

void FrameSocket::shutdown() {
  ::shutdown(fd_, SHUT_WR);
}

void FrameSocket::write_out() {
  while (!out_.empty() && !closed_) {
    const ssize_t written = ::send(fd_, out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
    if (written > 0) {
      forget_sent(static_cast<size_t>(written));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return;
    } else if (errno != EINTR) {
      forget_sent(out_.size() -
                  sent_);  // nobody reads any more; what the other side has sent before can still be read
      return;
    }
  }
}

// Moves the rest to the front only now and then: much may be queued.
void FrameSocket::forget_sent(size_t bytes) {
  sent_ += bytes;
  if (2 * sent_ >= out_.size()) {
    out_.erase(0, sent_);
    sent_ = 0;
  }
}

void FrameSocket::read_in() {
  std::array<char, 65536> piece;
  while (!closed_) {
    const ssize_t got = ::recv(fd_, piece.data(), piece.size(), 0);
    if (got > 0) {
      in_.append(piece.data(), static_cast<size_t>(got));
    } else if (got < 0 && errno == EINTR) {
      continue;
    } else if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      return;
    } else {
      closed_ = true;  // end of the stream, or the other side was killed
    }
  }
}

}  // namespace fusegrid
