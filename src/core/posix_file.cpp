#include "core/posix_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

// Per system call: Linux transfers at most 2 GiB at once, and smaller blocks keep a read interruptible.
constexpr size_t kBlockBytes = size_t{16} << 20;

}  // namespace

std::string system_message(const std::string& action, const std::filesystem::path& path) {
  return "cannot " + action + " '" + path.string() + "': " + std::generic_category().message(errno);
}

PosixFile::PosixFile(int fd, std::filesystem::path path) : fd_(fd), path_(std::move(path)) {
  struct stat status {};
  if (::fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(fd_);
    throw DataError("'" + path_.string() + "' must be a regular file, but it is not");
  }
  opened_ = stamp();
}

PosixFile PosixFile::open(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a named pipe must not wait for its writer; it has no effect on regular files
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    throw IoError(system_message("open", path));
  }
  return {fd, path};
}

PosixFile PosixFile::create(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (fd < 0) {
    throw IoError(system_message("create", path));
  }
  return {fd, path};
}

PosixFile PosixFile::update(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (fd < 0) {
    throw IoError(system_message("open", path));
  }
  return {fd, path};
}

PosixFile::~PosixFile() {
  if (fd_ >= 0) {
    ::close(fd_);
  }
}

PosixFile::PosixFile(PosixFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)), opened_(other.opened_) {}

PosixFile::Stamp PosixFile::stamp() const {
  struct stat status {};
  if (::fstat(fd_, &status) != 0) {
    throw IoError(system_message("examine", path_));
  }
  return {status.st_dev, status.st_ino, static_cast<uint64_t>(status.st_size), status.st_mtim.tv_sec,
          status.st_mtim.tv_nsec};
}

void PosixFile::check_unchanged() const {
  if (const Stamp now = stamp(); now != opened_) {
    throw DataError("'" + path_.string() + "' must not change while it is read, but it did (it had " +
                    std::to_string(opened_.size) + " bytes and now has " + std::to_string(now.size) +
                    "); start again when it is complete");
  }
}

void PosixFile::read_at(uint64_t offset, void* destination, size_t size) const {
  auto* out = static_cast<char*>(destination);
  for (size_t done = 0; done < size;) {
    const ssize_t n =
        ::pread(fd_, out + done, std::min(size - done, kBlockBytes), static_cast<off_t>(offset + done));
    if (n == 0) {
      throw DataError("'" + path_.string() + "' is truncated at byte " + std::to_string(offset + done) +
                      ", expected " + std::to_string(offset + size));
    }
    if (n < 0 && errno != EINTR) {
      throw IoError(system_message("read", path_));
    }
    done += n > 0 ? static_cast<size_t>(n) : 0;
  }
}

void PosixFile::write_at(uint64_t offset, const void* source, size_t size) {
  const auto* in = static_cast<const char*>(source);
  for (size_t done = 0; done < size;) {
    const ssize_t n =
        ::pwrite(fd_, in + done, std::min(size - done, kBlockBytes), static_cast<off_t>(offset + done));
    if (n < 0 && errno != EINTR) {
      throw IoError(system_message("write", path_) + " (at byte " + std::to_string(offset + done) + ")");
    }
    done += n > 0 ? static_cast<size_t>(n) : 0;
  }
}

void PosixFile::sync() {
  if (::fsync(fd_) != 0) {
    throw IoError(system_message("sync", path_));
  }
}

}  // namespace fusegrid
