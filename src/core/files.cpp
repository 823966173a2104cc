#include "core/files.h"

#include <cerrno>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <unistd.h>

#include "core/errors.h"

namespace fusegrid {

void sync_folder(const std::filesystem::path& folder) {
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const int status = fd < 0 ? -1 : ::fsync(fd);
  const int reason = errno;
  if (fd >= 0) {
    ::close(fd);
  }
  // some network file systems cannot sync a folder (EINVAL) and need not
  if (status != 0 && reason != EINVAL) {
    throw IoError("cannot sync the folder '" + folder.string() + "': " + std::strerror(reason));
  }
}

}  // namespace fusegrid
