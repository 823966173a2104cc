#include "fusion/whole_model/statistics_cache.h"

#include <algorithm>
#include <iostream>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_writer.h"
#include "core/digest.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;

int64_t bytes_of(const Weights& weights) {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : weights) {
    bytes += static_cast<int64_t>(tensor.nbytes());
  }
  return bytes;
}

Weights read_all(const SafetensorsFile& file, at::Device device) {
  Weights weights;
  for (const auto& tensor : file.tensors()) {
    weights.emplace(tensor.name, file.read(tensor.name).to(device));
  }
  return weights;
}

// Exclusive lock on a file as long as it lives; the kernel releases it when its holder dies.
class FileLock {
 public:
  // Waits for it.
  explicit FileLock(const fs::path& path) : FileLock(path, LOCK_EX) {
    if (!is_held_) {
      throw IoError("cannot lock '" + path.string() + "'; the statistics cache needs a writable folder");
    }
  }
  // Null where somebody holds it.
  static std::unique_ptr<FileLock> if_free(const fs::path& path) {
    std::unique_ptr<FileLock> lock(new FileLock(path, LOCK_EX | LOCK_NB));
    return lock->is_held_ ? std::move(lock) : nullptr;
  }
  ~FileLock() { ::close(fd_); }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  FileLock(const fs::path& path, int how)
      : fd_(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644)),
        is_held_(fd_ >= 0 && ::flock(fd_, how) == 0) {}

  int fd_;
  bool is_held_;
};

constexpr const char* kEnding = ".safetensors";

fs::path lock_of(const fs::path& file) {
  return file.string() + ".lock";
}

struct SavedFile {
  fs::file_time_type used;
  int64_t bytes = 0;
  fs::path path;
};

// Those of all caches on the folder, as they are now: others may add and remove some meanwhile.
std::vector<SavedFile> saved_files(const fs::path& folder) {
  std::vector<SavedFile> files;
  std::error_code gone;
  for (const auto& entry : fs::directory_iterator(folder, gone)) {
    if (entry.path().extension() == kEnding) {
      const auto used = entry.last_write_time(gone);
      const auto bytes = static_cast<int64_t>(entry.file_size(gone));
      if (!gone) {
        files.push_back({used, bytes, entry.path()});
      }
    }
  }
  return files;
}

// Removes what was not used for longest until `bytes` more are within the limit, or nothing is left that can go.
void make_room(const fs::path& folder, int64_t bytes, int64_t limit) {
  std::vector<SavedFile> files = saved_files(folder);
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.used < b.used; });
  int64_t all = bytes;
  for (const SavedFile& file : files) {
    all += file.bytes;
  }
  for (const SavedFile& file : files) {
    if (all <= limit) {
      return;
    }
    if (FileLock::if_free(lock_of(file.path))) {
      std::error_code gone;
      fs::remove(file.path, gone);
      all -= file.bytes;
    }
  }
}

}  // namespace

StatisticsCache::StatisticsCache(int64_t memory_limit_bytes, fs::path folder, at::Device device,
                                 int64_t disk_limit_bytes)
    : memory_(memory_limit_bytes),
      folder_(std::move(folder)),
      device_(device),
      disk_limit_bytes_(disk_limit_bytes) {
  std::error_code failed;
  if (!folder_.empty()) {
    std::filesystem::create_directories(folder_, failed);
  }
  if (failed) {
    go_on_without("making it", IoError("'" + folder_.string() + "': " + failed.message()));
  }
}

std::shared_ptr<const Weights> StatisticsCache::get(const std::string& key, Keep keep,
                                                    const std::function<Weights()>& compute) {
  if (auto kept = memory_.find(key)) {
    return kept;
  }
  Weights value = keep == Keep::kMemoryAndDisk && !folder_.empty() ? from_disk_or_compute(key, compute)
                                                                   : compute_and_count(key, compute);
  const int64_t bytes = bytes_of(value);
  return memory_.keep(key, std::move(value), bytes);
}

Weights StatisticsCache::from_disk_or_compute(const std::string& key,
                                              const std::function<Weights()>& compute) {
  const fs::path path = folder_ / (sha256_hex(key) + kEnding);
  std::unique_ptr<FileLock> lock;
  try {
    lock = std::make_unique<FileLock>(lock_of(path));
    if (fs::exists(path)) {
      Weights saved = read_all(SafetensorsFile(path), device_);
      std::error_code failed;
      fs::last_write_time(path, fs::file_time_type::clock::now(), failed);  // the time of its last use
      return saved;
    }
  } catch (const Error& error) {
    go_on_without("reading", error);
  }
  Weights value = compute_and_count(key, compute);
  try {
    if (lock) {
      write(path, key, value);
    }
  } catch (const Error& error) {
    go_on_without("writing", error);
  }
  return value;
}

void StatisticsCache::write(const fs::path& path, const std::string& key, const Weights& value) const {
  const int64_t bytes = bytes_of(value);
  if (bytes <= disk_limit_bytes_) {
    make_room(folder_, bytes, disk_limit_bytes_);
    write_safetensors(path, to_device(value, at::kCPU), {{"key", key}});
  }
}

Weights StatisticsCache::compute_and_count(const std::string& key, const std::function<Weights()>& compute) {
  ++computed_[key];
  return compute();
}

void StatisticsCache::go_on_without(const std::string& what, const Error& error) {
  if (!std::exchange(warned_, true)) {
    std::cerr << "fusegrid: " << what
              << " the statistics cache failed, so what it would save is computed again: " << error.what()
              << std::endl;
  }
}

std::map<std::string, int64_t> StatisticsCache::computed() const {
  return computed_;
}

int64_t bytes_of_saved_statistics(const fs::path& folder) {
  int64_t bytes = 0;
  for (const SavedFile& file : saved_files(folder)) {
    bytes += file.bytes;
  }
  return bytes;
}

}  // namespace fusegrid
