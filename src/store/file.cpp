#include "store/file.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <functional>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/errors.h"
#include "core/files.h"

namespace fusegrid {
namespace {

struct {
  Fault plan;
  int64_t count = 0;
} fault_state;

[[noreturn]] void fail(const std::string& what, const std::filesystem::path& path, int error) {
  throw IoError("cannot " + what + " '" + path.string() + "': " + std::strerror(error));
}

void die() {
  ::kill(::getpid(), SIGKILL);
}

// Runs one file operation as the fault plan says. `call` returns -1 and sets errno on failure; `half` is what
// an interrupted operation has done.
ssize_t operate(
    const std::function<ssize_t()>& call, const std::function<void()>& half = [] {}) {
  const bool hit = fault_state.count++ == fault_state.plan.operation;
  const auto action = hit ? fault_state.plan.action : Fault::Action::kNone;
  if (action == Fault::Action::kKillBefore) {
    die();
  }
  if (action == Fault::Action::kKillHalfway) {
    half();
    die();
  }
  if (action == Fault::Action::kFail) {
    half();
    errno = fault_state.plan.error;
    return -1;
  }
  const ssize_t result = call();
  if (action == Fault::Action::kKillAfter) {
    die();
  }
  return result;
}

int open_flags(File::Mode mode) {
  switch (mode) {
    case File::Mode::kRead:
      return O_RDONLY;
    case File::Mode::kAppend:
      return O_RDWR | O_CREAT | O_APPEND;
    case File::Mode::kCreate:
      return O_RDWR | O_CREAT | O_TRUNC | O_APPEND;
  }
  FUSEGRID_ASSERT(false, "unknown mode");
}

}  // namespace

void set_fault(const Fault& fault) {
  fault_state.plan = fault;
  fault_state.count = 0;
}

int64_t num_file_operations() {
  return fault_state.count;
}

File::File(std::filesystem::path path, Mode mode) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), open_flags(mode) | O_CLOEXEC, 0666);
  if (descriptor_ < 0) {
    fail("open", path_, errno);
  }
}

File::~File() {
  ::close(descriptor_);
}

uint64_t File::size() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) {
    fail("find the size of", path_, errno);
  }
  return static_cast<uint64_t>(status.st_size);
}

std::string File::read_all() const {
  std::string bytes(size(), '\0');
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t count =
        ::pread(descriptor_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      fail("read", path_, errno);
    }
    if (count == 0) {
      throw IoError("'" + path_.string() + "' became shorter while it was read: " + std::to_string(done) +
                    " of " + std::to_string(bytes.size()) + " bytes are left");
    }
    done += static_cast<size_t>(count);
  }
  return bytes;
}

void File::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t limit = fault_state.plan.max_write;
    const size_t length = limit > 0 ? std::min(limit, bytes.size()) : bytes.size();
    const ssize_t count = operate([&] { return ::write(descriptor_, bytes.data(), length); },
                                  [&] { (void)!::write(descriptor_, bytes.data(), length / 2); });
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      fail("write", path_, count == 0 ? ENOSPC : errno);
    }
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

void File::truncate(uint64_t size) {
  if (operate([&] { return ::ftruncate(descriptor_, static_cast<off_t>(size)); }) != 0) {
    fail("shorten", path_, errno);
  }
}

void File::sync() {
  if (operate([&] { return ::fdatasync(descriptor_); }) != 0) {
    fail("write to disk (fdatasync)", path_, errno);
  }
}

void rename_file(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (operate([&] { return ::rename(from.c_str(), to.c_str()); }) != 0) {
    fail("rename '" + from.string() + "' to", to, errno);
  }
}

void sync_names(const std::filesystem::path& folder) {
  const auto sync = [&] {
    sync_folder(folder);
    return 0;
  };
  if (operate(sync) != 0) {
    fail("write to disk (fsync) the folder", folder, errno);
  }
}

}  // namespace fusegrid
