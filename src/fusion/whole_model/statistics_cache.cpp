#include "fusion/whole_model/statistics_cache.h"

#include <iostream>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_writer.h"
#include "core/digest.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

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
  explicit FileLock(const std::filesystem::path& path)
      : fd_(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644)) {
    if (fd_ < 0 || ::flock(fd_, LOCK_EX) != 0) {
      throw IoError("cannot lock '" + path.string() + "'; the statistics cache needs a writable folder");
    }
  }
  ~FileLock() { ::close(fd_); }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int fd_;
};

}  // namespace

StatisticsCache::StatisticsCache(int64_t memory_limit_bytes, std::filesystem::path folder, at::Device device)
    : memory_(memory_limit_bytes), folder_(std::move(folder)), device_(device) {
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
  const std::filesystem::path path = folder_ / (sha256_hex(key) + ".safetensors");
  std::unique_ptr<FileLock> lock;
  try {
    lock = std::make_unique<FileLock>(path.string() + ".lock");
    if (std::filesystem::exists(path)) {
      return read_all(SafetensorsFile(path), device_);
    }
  } catch (const Error& error) {
    go_on_without("reading", error);
  }
  Weights value = compute_and_count(key, compute);
  try {
    if (lock) {
      write_safetensors(path, to_device(value, at::kCPU), {{"key", key}});
    }
  } catch (const Error& error) {
    go_on_without("writing", error);
  }
  return value;
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

}  // namespace fusegrid
