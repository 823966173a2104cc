#include "store/lock.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <iostream>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

using nlohmann::json;

std::string holder_text(int descriptor) {
  std::array<char, 1024> buffer{};
  const ssize_t count = ::pread(descriptor, buffer.data(), buffer.size(), 0);
  const auto holder = json::parse(buffer.data(), buffer.data() + (count > 0 ? count : 0), nullptr, false);
  if (!holder.is_object()) {  // it has taken the lock, but not yet written who it is
    return "another process";
  }
  const auto field = [&](const char* key) {
    const auto value = holder.find(key);
    return value == holder.end() ? "(unknown)" : value->dump(-1, ' ', false, json::error_handler_t::replace);
  };
  return "process " + field("pid") + " on host " + field("host") + " since " + field("started");
}

void write_holder(int descriptor) {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  const std::string text =
      json{{"host", host.data()}, {"pid", ::getpid()}, {"started", utc_now()}}.dump() + "\n";
  // Only the message of a second opener depends on this text: on a full disk the lock holds without it.
  (void)!::ftruncate(descriptor, 0);
  (void)!::pwrite(descriptor, text.data(), text.size(), 0);
}

}  // namespace

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

FolderLock::FolderLock(const std::filesystem::path& folder) {
  const auto path = folder / "lock";
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) {
    throw IoError("cannot open '" + path.string() + "': " + std::strerror(errno));
  }
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  // An open-file-description lock: unlike the older kind it is not lost when another part of the program
  // opens and closes the same file.
  if (::fcntl(descriptor_, F_OFD_SETLK, &lock) == 0) {
    write_holder(descriptor_);
    return;
  }
  const int error = errno;
  if (error == ENOSYS || error == ENOTSUP || error == ENOLCK || error == EINVAL) {
    std::cerr << "warning: the file system of '" << folder.string() << "' has no locks ("
              << std::strerror(error) << "); make sure that only one run works on this folder\n";
    return;
  }
  const std::string holder = holder_text(descriptor_);
  ::close(descriptor_);
  if (error != EAGAIN && error != EACCES) {
    throw IoError("cannot lock '" + path.string() + "': " + std::strerror(error));
  }
  throw IoError("one run at a time works on a results folder, but '" + folder.string() + "' is in use by " +
                holder + "; wait for it, stop it, or choose another folder");
}

FolderLock::~FolderLock() {
  ::close(descriptor_);
}

}  // namespace fusegrid
