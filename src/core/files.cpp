#include "core/files.h"

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "core/errors.h"
#include "core/posix_file.h"

namespace fusegrid {

bool is_there(const std::filesystem::path& path) {
  std::error_code no_such_name;
  return std::filesystem::exists(path, no_such_name);
}

void sync_folder(const std::filesystem::path& folder) {
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const int status = fd < 0 ? -1 : ::fsync(fd);
  const int reason = errno;
  if (fd >= 0) {
    ::close(fd);
  }
  errno = reason;
  // some network file systems cannot sync a folder (EINVAL) and need not
  if (status != 0 && reason != EINVAL) {
    throw IoError(system_message("sync the folder", folder));
  }
}

void rename_synced(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    throw IoError(system_message("rename '" + from.string() + "' to", to));
  }
  sync_folder(to.parent_path());
}

void write_synced(const std::filesystem::path& path, std::string_view content) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    throw IoError(system_message("replace", path));
  }
  PosixFile file = PosixFile::create(path);
  file.write_at(0, content.data(), content.size());
  file.sync();
}

void write_atomically(const std::filesystem::path& path, std::string_view content) {
  TemporaryPath temporary(path);
  write_synced(temporary.path(), content);
  temporary.publish();
}

TemporaryPath::TemporaryPath(std::filesystem::path final_path)
    : final_path_(std::move(final_path)), path_(stem(final_path_) + std::to_string(::getpid())) {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);  // left by a killed process that had the same number
}

TemporaryPath::~TemporaryPath() {
  std::error_code ignored;  // a destructor cannot report, and the error that led here is the one to report
  std::filesystem::remove_all(path_, ignored);
}

std::string TemporaryPath::stem(const std::filesystem::path& final_path) {
  return final_path.string() + ".tmp.";
}

void TemporaryPath::publish() {
  rename_synced(path_, final_path_);
}

}  // namespace fusegrid
