#include "merge/output_folder.h"

#include <system_error>

#include <sys/statvfs.h>

#include "core/errors.h"

namespace fusegrid {
namespace fs = std::filesystem;
namespace {

int64_t bytes_there(const fs::path& partial) {
  int64_t bytes = 0;
  std::error_code none;
  for (const auto& entry : fs::recursive_directory_iterator(partial, none)) {
    bytes += entry.is_regular_file() ? static_cast<int64_t>(entry.file_size()) : 0;
  }
  return bytes;
}

// The innermost folder above `out` that is there.
fs::path folder_above(const fs::path& out) {
  fs::path parent = fs::absolute(out).parent_path();
  while (parent.has_relative_path() && !fs::is_directory(parent)) {
    parent = parent.parent_path();
  }
  return parent;
}

}  // namespace

void check_output_folder(const fs::path& out, bool parents_are_made) {
  const std::string name = out.filename().string();
  if (name.empty() || name == "." || name == "..") {
    throw ConfigError("--out must end in the name of a new folder, but it is '" + out.string() + "'");
  }
  if (fs::exists(out) && !(fs::is_directory(out) && fs::is_empty(out))) {
    throw ConfigError("a merge must be written to a new folder, but '" + out.string() +
                      "' exists; remove it or choose another --out");
  }
  const fs::path parent = fs::absolute(out).parent_path();
  if (!parents_are_made && !fs::is_directory(parent)) {
    throw ConfigError("the folder of --out must exist, but there is no '" + parent.string() + "'; create it");
  }
}

void check_free_space(const fs::path& out, int64_t bytes) {
  struct statvfs disk {};
  const fs::path parent = folder_above(out);
  if (::statvfs(parent.c_str(), &disk) != 0) {
    throw IoError("cannot examine the disk of '" + parent.string() + "'");
  }
  const int64_t free = static_cast<int64_t>(disk.f_bavail) * static_cast<int64_t>(disk.f_frsize);
  const int64_t needed = bytes - bytes_there(out.string() + ".partial");
  if (needed > free) {
    throw IoError("the merge writes " + std::to_string(needed >> 20) + " MiB below '" + parent.string() +
                  "', but only " + std::to_string(free >> 20) +
                  " MiB are free there; free some, choose another --out or a smaller "
                  "--dtype");
  }
}

}  // namespace fusegrid
