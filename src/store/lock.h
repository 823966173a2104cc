#pragma once

#include <filesystem>
#include <string>

namespace fusegrid {

// Keeps other coordinators off a results folder while it lives: a write lock on FOLDER/lock, which the kernel
// drops when the process ends in whatever way, so that a lock is never stale. The file holds who took it, for
// the message of the second opener:
//
//   {"host": "node17", "pid": 4711, "started": "2026-01-31T12:00:00Z"}
class FolderLock {
 public:
  // Throws IoError naming the holder where the lock is taken. On a file system without locks it says so on
  // stderr and goes on.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_ = -1;
};

// Time of day in UTC, "2026-01-31T12:00:00Z".
std::string utc_now();

}  // namespace fusegrid
