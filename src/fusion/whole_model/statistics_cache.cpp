#include "fusion/whole_model/statistics_cache.h"

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
    : memory_limit_bytes_(memory_limit_bytes), folder_(std::move(folder)), device_(device) {
  if (!folder_.empty()) {
    std::filesystem::create_directories(folder_);
  }
}

std::shared_ptr<const Weights> StatisticsCache::get(const std::string& key, Keep keep,
                                                    const std::function<Weights()>& compute) {
  if (const auto it = entries_.find(key); it != entries_.end()) {
    newest_first_.splice(newest_first_.begin(), newest_first_, it->second.age);
    return it->second.value;
  }
  auto value = keep == Keep::kMemoryAndDisk && !folder_.empty()
                   ? from_disk_or_compute(key, compute)
                   : std::make_shared<const Weights>(compute_and_count(key, compute));
  remember(key, value);
  return value;
}

std::shared_ptr<const Weights> StatisticsCache::from_disk_or_compute(
    const std::string& key, const std::function<Weights()>& compute) {
  const std::filesystem::path path = folder_ / (sha256_hex(key) + ".safetensors");
  const FileLock lock(path.string() + ".lock");
  if (std::filesystem::exists(path)) {
    return std::make_shared<const Weights>(read_all(SafetensorsFile(path), device_));
  }
  Weights value = compute_and_count(key, compute);
  write_safetensors(path, to_device(value, at::kCPU), {{"key", key}});
  return std::make_shared<const Weights>(std::move(value));
}

Weights StatisticsCache::compute_and_count(const std::string& key, const std::function<Weights()>& compute) {
  ++computed_[key];
  return compute();
}

void StatisticsCache::remember(const std::string& key, std::shared_ptr<const Weights> value) {
  const int64_t bytes = bytes_of(*value);
  newest_first_.push_front(key);
  entries_[key] = {std::move(value), bytes, newest_first_.begin()};
  bytes_ += bytes;
  while (bytes_ > memory_limit_bytes_ && newest_first_.size() > 1) {
    const auto oldest = entries_.find(newest_first_.back());
    bytes_ -= oldest->second.bytes;
    entries_.erase(oldest);
    newest_first_.pop_back();
  }
}

std::map<std::string, int64_t> StatisticsCache::computed() const {
  return computed_;
}

}  // namespace fusegrid
